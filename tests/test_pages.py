"""Pages: what they say, that text of a file stays text, and that a browser shows them and asks nobody for anything."""

import html
import http.server
import re
import shutil
import subprocess
import threading
from html.parser import HTMLParser
from importlib.resources import files

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot

import flowdyn as fd
from flowdyn.cli.commands import main
from flowdyn.pages.formulas import mathml
from flowdyn.pages.pictures import alt_text, picture

CHROMIUM = shutil.which("chromium")
EVIL = "<script>document.title='broken'</script><img src='{}' onerror='alert(1)'><b>bold</b>\"'&"


class Reader(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def descent():
    p = fd.problems.DiagonalNetwork([[1.0, 2.0], [3.0, 1.0]], [1.0, 2.0])
    return fd.solve(fd.GradientDescent(p, 0.01), p.init(0.1), steps=50)


@pytest.fixture(scope="module")
def ladder():
    return fd.eta_limit(fd.GradientDescent(fd.problems.Quadratic(1.0), 0.1), [1.0], t=1.0)


def read(path):
    return Reader(path.read_text(encoding="utf-8"))


def test_a_page_says_what_ran_how_it_ended_and_where_the_data_are(tmp_path, descent, ladder):
    (tmp_path / "data").mkdir()
    fd.save(descent, tmp_path / "data" / "a run.nc")
    page = read(fd.report([tmp_path / "data" / "a run.nc", ladder], tmp_path / "page.html", title="Two & more"))
    assert "Two & more" in page.words and page.words.count("reached the end") == 2
    assert "eta = 0.01" in page.words and "sections 9.3" not in page.words
    assert "order 1 [0.995, 1.005]" in page.words
    assert "95 % interval [0.995, 1.005], expected 1." in page.words and "Verdict: resolved." in page.words
    assert len(page.all("math")) == 4  # of the method and of the loss, twice
    assert {"data/a%20run.nc", "#a-run-1"} <= {a["href"] for a in page.all("a")}
    assert '"class": "DiagonalNetwork"' in page.words and "<xarray.Dataset>" in page.words
    loss = float(descent.loss[-1])
    assert f"loss {loss:.4g}" in page.words


def test_nothing_in_a_page_leads_out_of_it(tmp_path, descent):
    page = read(fd.report(descent, tmp_path / "page.html"))
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in page.tags}
    assert all(a.get("src", "data:").startswith("data:") for _, a in page.tags)
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]
    assert all(a["href"].startswith("#") for a in page.all("a"))


def test_every_figure_has_words_that_stand_for_it(tmp_path, descent):
    images = read(fd.report(descent, tmp_path / "page.html")).all("img")
    assert len(images) == 1 and "loss L(w) against training time t" in images[0]["alt"]


def test_the_words_of_a_figure_are_its_title_axes_and_legend():
    figure, axes = pyplot.subplots(1, 2)
    axes[0].plot([0, 1], [0, 1], label=r"$\eta$ = 0.1")
    axes[0].set(xlabel="step k", ylabel=r"$\|\theta\|$")
    axes[0].legend()
    figure.suptitle("a title")
    assert alt_text(figure) == "a title: |theta| (eta = 0.1) against step k"
    pyplot.close(figure)
    empty = pyplot.figure()
    assert alt_text(empty) == "a figure without labels"
    pyplot.close(empty)


def test_a_figure_of_many_lines_is_pixels():
    figure, axis = pyplot.subplots()
    axis.plot(np.random.default_rng(0).standard_normal((4, 40)))
    small = picture(figure)
    axis.plot(np.random.default_rng(0).standard_normal((2000, 20)))
    large = picture(figure)
    pyplot.close(figure)
    assert small.uri.startswith("data:image/svg+xml;base64,") and large.uri.startswith("data:image/png;base64,")


def test_a_tree_has_a_section_for_each_of_its_results_and_its_claims(tmp_path, descent, ladder):
    tree = xr.DataTree.from_dict({"/a": descent, "/b/c": ladder})
    page = read(fd.report({"tree": tree}, tmp_path / "page.html"))
    assert [name for name in ("tree: a", "tree: b/c") if name in page.words] == ["tree: a", "tree: b/c"]


def test_what_ended_badly_or_is_not_resolved_is_marked(tmp_path):
    system = fd.ODE(lambda t, y: y**2)
    run = fd.solve(system, [1.0], t=2.0, on_divergence="keep")
    page = read(fd.report(run, tmp_path / "page.html"))
    assert "diverged" in page.words and [a for a in page.all("td") if a.get("class") == "bad"]
    good = read(fd.report(fd.solve(system, [1.0], t=0.5), tmp_path / "good.html"))
    assert not [a for a in good.all("td") if a.get("class")]


def test_a_loss_that_grew_and_an_order_in_doubt_are_marked(tmp_path):
    """By hand: w_k = (1 - eta)^k, L = w^2 / 2; at eta = 2.5, k = 2 the loss grows from 0.5 to 2.531."""
    p = fd.problems.Quadratic(1.0)
    with pytest.warns(fd.FlowdynWarning):
        grown, shrunk = (fd.solve(fd.GradientDescent(p, eta), [1.0], steps=2, saves=3) for eta in (2.5, 0.5))
    page = read(fd.report([grown, shrunk], tmp_path / "page.html"))
    assert "loss 2.531, grown from 0.5" in page.words and "loss 0.03125" in page.words
    assert [a.get("class") for a in page.all("td") if a.get("class")] == ["bad"]
    both = read(fd.report(fd.concat([grown, shrunk], "run"), tmp_path / "both.html"))
    assert "loss 0.03125 to 2.531, grown in 1 of 2" in both.words
    at_rest = fd.solve(fd.GradientDescent(p, 0.5), [0.0], steps=2, saves=3)
    assert not [a for a in read(fd.report(at_rest, tmp_path / "rest.html")).all("td") if a.get("class")]
    ladder = fd.eta_limit(fd.GradientDescent(p, 0.5), [1.0], t=2.0).assign_attrs(verdict="doubtful: rounding")
    page = read(fd.report(ladder, tmp_path / "ladder.html"))
    assert "doubtful: rounding" in page.words and [a for a in page.all("td") if a.get("class") == "bad"]


def test_ladders_of_a_sweep_have_their_orders_told_together(tmp_path):
    """Descent on w^2 / 2 has order 1 at any end."""

    def make(end):
        return fd.eta_limit(fd.GradientDescent(fd.problems.Quadratic(1.0), 0.1), [1.0], t=end, saves=3)

    parts = [fd.sweep(make, {"end": ends}) for ends in ([1.0, 2.0], [4.0])]
    page = read(fd.report(fd.concat(parts, "end"), tmp_path / "page.html"))
    assert "Order: 1 to 1 in 3 ladders, expected 1." in page.words and "Verdict: resolved." in page.words
    assert "sweep of 3 ladders" in page.words and "Not drawn: `ds` must hold one ladder to be drawn" in page.words


@pytest.mark.parametrize("taken", [lambda ladder: ladder.isel(eta=0), lambda ladder: ladder.mean("eta")])
def test_what_is_left_of_a_ladder_without_its_rungs_is_told(taken, tmp_path):
    ladder = fd.eta_limit(fd.GradientDescent(fd.problems.Quadratic(1.0), 0.1), [1.0], t=1.0, saves=3)
    with pytest.raises(fd.ArgumentError, match="must have the dimension eta of its rungs"):
        fd.plot(taken(ladder))
    assert "Not drawn: " in read(fd.report(taken(ladder), tmp_path / "page.html")).words


def test_a_sweep_is_called_one_with_its_grid_and_its_outcome(tmp_path):
    """By hand: w_k = (1 - eta)^k w_0 and L = w^2 / 2 on the quadratic, k = 2."""
    p = fd.problems.Quadratic(1.0)

    def make(eta, scale):
        return fd.GradientDescent(p, eta), [scale], {"steps": 1000 if eta == 3 else 2, "saves": 2}

    with pytest.warns(fd.FlowdynWarning):
        result = fd.sweep(make, {"eta": [0.5, 0.1, 3.0], "scale": [1.0, 2.0]})
    page = read(fd.report(result, tmp_path / "page.html"))
    assert "sweep of 6 runs" in page.words and "eta = 0.5, 0.1, 3; scale = 1, 2" in page.words
    assert "A grid of 6 cells, eta = 0.5, 0.1, 3; scale = 1, 2; 2 failed. Why: " in page.words
    assert page.words.count("diverged") >= 2
    low, high = 0.5 * 0.5**4, 0.5 * (0.9**2 * 2) ** 2
    assert f"loss {low:.4g} to {high:.4g}" in page.words
    one = read(fd.report(result.sel(eta=0.1, scale=2.0), tmp_path / "one.html"))
    assert "A grid of" not in one.words and "sweep of 6 runs" not in one.words and f"loss {high:.4g}" in one.words


def test_a_mean_over_runs_is_not_called_one(tmp_path):
    def make(eta):
        return fd.GradientDescent(fd.problems.Quadratic(1.0), eta), [1.0], {"steps": 4, "saves": 2}

    noisy = fd.SGD(fd.problems.Quadratic(np.eye(2), noise=np.eye(2)), 0.1)
    members = fd.solve(noisy, [1.0, 1.0], steps=4, realizations=3)
    for i, mean in enumerate((fd.sweep(make, {"eta": [0.1, 0.2]}).mean("eta"), members.mean("realization"))):
        assert "taken from runs" in read(fd.report(mean, tmp_path / f"{i}.html")).words


def test_cells_that_all_failed_are_told_and_not_drawn(tmp_path):
    def make(eta):
        return fd.GradientDescent(fd.problems.Quadratic(1.0), eta), [1.0], {"steps": 1000, "saves": 2}

    with pytest.warns(fd.FlowdynWarning):
        lost = fd.sweep(make, {"eta": [0.1, 3.0]}).isel(eta=[1])
    with pytest.raises(
        fd.ArgumentError, match="must hold a cell that did not fail, got ones that did: the run diverged"
    ):
        fd.plot(lost)
    page = read(fd.report(fd.sweep(make, {"eta": [0.1]}).reindex(eta=[0.1, 0.2]), tmp_path / "more.html"))
    assert "1 failed. Why: no such cell." in page.words
    page = read(fd.report(lost, tmp_path / "page.html"))
    assert not page.all("img") and "sweep of 1 run" in page.words and "1 failed. Why: the run diverged" in page.words


def test_a_mean_over_seeds_has_its_picture(tmp_path):
    p = fd.problems.LinearRegression(np.eye(2), np.ones(2))

    def make(eta, seed):
        return fd.SGD(p, eta, batch_size=1), np.zeros(2), {"steps": 4, "saves": 3, "seed": seed}

    mean = fd.sweep(make, {"eta": [0.1, 0.2], "seed": [0, 1, 2]}).mean("seed")
    page = read(fd.report({"mean over seeds": mean}, tmp_path / "mean.html"))
    (image,) = page.all("img")
    assert "loss L(w) (0.1, 0.2) against training time t" in image.get("alt")


def formulas(page):
    """What stands in each formula of a page, without spaces."""
    return [
        re.sub("<[^>]*>|\\s", "", html.unescape(found))
        for found in re.findall("<math.*?</math>", page.read_text(), re.DOTALL)
    ]


@pytest.mark.parametrize("data", [None, jnp.ones(2)])
def test_a_formula_is_that_of_the_run_and_nothing_is_cited_as_none(data, tmp_path):
    def loss(w, *data):
        return jnp.sum(w**2) / 2

    p = fd.problems.CustomProblem(loss, jnp.ones(2), data)
    step, falling = (
        formulas(fd.report(fd.solve(fd.GradientDescent(p, eta), [1.0, 1.0], steps=2), tmp_path / f"{i}.html"))[0]
        for i, eta in enumerate((0.1, fd.schedules.PowerDecay(0.1, 0.5)))
    )
    assert falling.count("k") == step.count("k") + 1  # eta_k, and eta
    own = formulas(tmp_path / "0.html")[1]
    assert own == ("L(w)=loss(w)" if data is None else "L(w)=loss(w,data)")
    mean = fd.averaged(fd.GradientFlow(p), "ema", rate=2.0)
    fd.report(fd.solve(mean, [1.0, 1.0], t=1.0), tmp_path / "mean.html")
    assert formulas(tmp_path / "mean.html")[0] == "e′=κ(w−e),e(0)=w(0)"
    run = fd.solve(fd.ODE(lambda t, y: -y), [1.0], t=1.0)
    assert run.attrs["references"] == "none"
    assert '<p class="small">none</p>' not in fd.report(run, tmp_path / "ode.html").read_text()


@pytest.mark.parametrize(
    ("step", "options", "shown"),
    [
        (lambda z, eta: z - eta * z, {}, "zk+1=step(zk,η),t=ηk"),
        (lambda z, eta, k: z - eta * z, {}, "zk+1=step(zk,η,k),t=ηk"),
        (lambda z, eta: z - eta**0.5 * z, {"clock_power": 0.5}, "zk+1=step(zk,η),t=ηk"),
        (lambda z, eta: -z, {"increment": True}, "zk+1=zk+ηstep(zk,η),t=ηk"),
        (lambda z, eta: z - eta * z, {"eta": fd.schedules.PowerDecay(0.1, 0.5)}, "zk+1=step(zk,ηk),tk+1=tk+ηk"),
    ],
)
def test_a_recursions_formula_is_that_of_the_step_that_was_run(step, options, shown, tmp_path):
    recursion = fd.Recursion(step, **{"eta": 0.1} | options)
    run = fd.solve(recursion, [1.0], steps=3)
    page = fd.report(run, tmp_path / "page.html")
    assert formulas(page) == [shown]
    assert ("<msqrt>" in page.read_text()) == ("clock_power" in options)
    fd.rebuild(run, step=step)
    older = run.assign_coords(recipe=run.recipe.item().replace('"form"', '"unknown"'))
    assert "or" in formulas(fd.report(older, tmp_path / "older.html"))[0]


def test_a_flow_of_a_recursion_shows_the_recursion_too(tmp_path):
    flow = fd.Recursion(lambda z, eta: z - eta * z, 0.1).limit(1)
    found = formulas(fd.report(fd.solve(flow, [1.0], t=1.0), tmp_path / "page.html"))
    assert len(found) == 2 and found[1] == "zk+1=step(zk,η),t=ηk"


def test_members_that_ended_differently_are_counted(tmp_path):
    p = fd.problems.CustomProblem(lambda w: jnp.sum(w**2) / 2 - jnp.sum(w**4) / 4, np.ones(1))
    run = fd.solve(fd.GradientFlow(p), [[0.5], [0.6], [2.0]], t=1.0, on_divergence="keep")
    assert "2 reached the end, 1 diverged" in read(fd.report(run, tmp_path / "page.html")).words


def hostile(run, address="http://127.0.0.1:1/x"):
    evil = EVIL.format(address)
    spoilt = run.assign_attrs(title=evil, summary=evil, references=evil, flowdyn_versions='{"a": "<i>"}')
    spoilt["w_plus"].attrs["long_name"] = evil
    return spoilt.assign_attrs(
        claims='[{"what": "<u>", "expected": "<u>", "measured": 1, "where": "", "verdict": "<u>"}]'
    )


def test_broken_mathematical_type_is_printed_as_it_is(tmp_path, descent):
    """It killed the page: a file's title may hold what looks like a formula and is none."""
    spoilt = descent.assign_attrs(title=r"a $\bad{ $ b")
    spoilt.loss.attrs["long_name"] = r"$\frac{$ x"
    page = read(fd.report(spoilt, tmp_path / "page.html"))
    assert r"$\bad{ $" in page.words and "frac x against" in page.all("img")[0]["alt"]
    assert fd.plot(spoilt).axes[0].yaxis.label.get_parse_math() is False
    assert fd.plot(descent).axes[0].yaxis.label.get_parse_math() is True
    pyplot.close("all")


def test_hostile_attributes_stay_text(tmp_path, descent):
    page = read(fd.report({EVIL: hostile(descent)}, tmp_path / "page.html", title=EVIL))
    assert not {"script", "u", "i", "b"} & {tag for tag, _ in page.tags}
    assert "document.title='broken'" in page.words and len(page.all("img")) == 1


@pytest.mark.parametrize("claims", ["[", "3", '[1, {"kind": [2]}]', '{"a": 1}', "[" * 5000])
def test_claims_that_cannot_be_read_do_no_harm(claims, tmp_path, descent):
    assert "reached the end" in read(fd.report(descent.assign_attrs(claims=claims), tmp_path / "page.html")).words


def test_a_result_that_cannot_be_drawn_has_a_section_all_the_same(tmp_path, descent):
    page = read(fd.report(descent.isel(t=-1), tmp_path / "page.html"))
    assert not page.all("img") and "reached the end" in page.words
    assert f"loss {float(descent.loss[-1]):.4g}" in page.words


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "`results` must hold a result or more"),
        (3, "`results` must be a result, a file, or a list or dict of them, got 3"),
        ([xr.Dataset()], "`results` must be made by flowdyn, got a Dataset that flowdyn did not make"),
        ([None], "`results` must be made by flowdyn"),
    ],
)
def test_what_is_no_result_is_refused_in_words(results, message, tmp_path):
    with pytest.raises(fd.ArgumentError, match=f"^{message}"):
        fd.report(results, tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_paths(tmp_path, descent):
    fd.report(descent, tmp_path / "page.html")
    with pytest.raises(fd.FileError, match="must not exist yet"):
        fd.report(descent, tmp_path / "page.html")
    with pytest.raises(fd.ArgumentError, match=r"must end in \.html"):
        fd.report(descent, tmp_path / "page.txt")
    with pytest.raises(fd.FileError, match="must be an existing file"):
        fd.report(tmp_path / "none.nc", tmp_path / "other.html")


def test_the_shell_writes_a_page(tmp_path, descent, ladder, capsys):
    names = [str(fd.save(ds, tmp_path / f"{name}.nc")) for name, ds in (("a", descent), ("b", ladder))]
    assert main(["report", *names, "-o", str(tmp_path / "page.html"), "--title", "From the shell"]) == 0
    assert "wrote" in capsys.readouterr().out
    page = read(tmp_path / "page.html")
    assert "From the shell" in page.words and {"a.nc", "b.nc"} <= {a["href"] for a in page.all("a")}
    assert main(["report", *names, "-o", str(tmp_path / "page.html")]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_the_same_results_make_the_same_page(tmp_path, descent):
    one, two = (fd.report(descent, tmp_path / f"{name}.html").read_text() for name in "ab")
    # xarray numbers the parts of its view at random
    assert [re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "", text) for text in (one,)] == [
        re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "", text) for text in (two,)
    ]


def luminance(colour):
    """Relative luminance of WCAG 2.2."""
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def test_text_stands_out_in_light_and_in_dark():
    """Contrast of 4.5 at least, level AA of WCAG 2.2, criterion 1.4.3."""
    source = files("flowdyn.pages").joinpath("page.html.jinja").read_text(encoding="utf-8")
    themes = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", text)) for text in re.findall(r":root \{[^}]*\}", source)]
    assert len(themes) == 2
    for theme in themes:
        for ink in ("ink", "faint", "good", "bad", "link"):
            for ground in ("ground", "raised"):
                low, high = sorted(luminance(theme[name]) for name in (ink, ground))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)


def test_formulas_are_mathml():
    assert mathml(r"\eta^2").text.startswith("<math") and "<script" not in mathml("<script>").text
    assert "\\" not in mathml(r"\bigl\|\arg\min_w L\bigr\|").text  # nothing is left as it was typed
    assert '<mi>log</mi><mspace width="0.167em" /><mi>r</mi>' in mathml(r"\log r").text


@pytest.fixture
def server():
    """A local server that keeps the paths it is asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}", asked
        made.shutdown()
        thread.join()


def browse(path, tmp_path, *options):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/u"]
    command = [CHROMIUM, *flags, "--virtual-time-budget=2000", *options, path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_browser_shows_the_page_and_asks_nobody_for_anything(tmp_path, descent, server):
    address, asked = server
    control = tmp_path / "control.html"
    control.write_text(f"<img src='{address}/control'><script>document.title='ran'</script>")
    assert "<title>ran</title>" in browse(control, tmp_path, "--dump-dom") and asked == ["/control"]
    page = fd.report(hostile(descent, f"{address}/evil"), tmp_path / "page.html", title="A page")
    shown = Reader(browse(page, tmp_path, "--dump-dom"))
    assert asked == ["/control"] and "A page" in shown.words and not shown.all("script")
    browse(page, tmp_path, f"--screenshot={tmp_path}/page.png", "--window-size=1000,1400")
    pixels = pyplot.imread(tmp_path / "page.png")[:, :, :3]
    assert pixels.shape[:2] == (1400, 1000) and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
    # nothing is wider than the window: the margins keep the colour of the ground
    assert (pixels[:, :18] == pixels[0, 0]).all() and (pixels[:, -18:] == pixels[0, 0]).all()
