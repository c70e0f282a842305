"""What the pages need beyond Sphinx: formulas as MathML, and what is generated from the package."""
