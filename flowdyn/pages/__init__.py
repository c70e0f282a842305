"""One self-contained page of any results: words, formulas, pictures, claims, recipes, views of the data."""
