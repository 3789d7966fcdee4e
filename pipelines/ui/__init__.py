"""The page of `gapless ui`: answers.py asks the DuckDB file, drawing.py knows HTML and SVG, pages.py and timeline.py
put the two together, app.py is the marimo notebook with the controls. What they ask are the views of `activity`.
"""
