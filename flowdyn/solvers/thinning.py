"""A record of an open-ended run that never grows beyond a number of rows:  every other one goes, the stride doubles."""

from typing import Any

import numpy as np


class ThinnedRecord:
    """Rows of an open-ended run: when there are more than `limit`, every other one goes and the stride doubles."""

    def __init__(self, limit: int):
        self.limit, self.stride = max(limit, 2), 1
        self.rows: list[tuple[Any, np.ndarray]] = []

    def add(self, index: int, when: Any, state: np.ndarray) -> None:
        """Offer row number `index` (0, 1, 2, ...); it is kept if it falls on the stride."""
        if index % self.stride == 0:
            self.rows.append((when, state))
            if len(self.rows) >= self.limit:
                self.rows, self.stride = self.rows[::2], self.stride * 2

    def close(self, when: Any, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """End with the given row and return (times, states)."""
        rows = [row for row in self.rows if row[0] < when]
        rows.append((when, state))
        return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
