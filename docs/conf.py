from dockerflow import __version__

project = "dockerflow-middleware"
author = "the contributors of dockerflow-middleware"
copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3
smartquotes = False  # they make a dash of the hyphens in --break
# What is copied are the commands, without their prompts and their output.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"
html_theme = "furo"
html_title = f"dockerflow-middleware {release}"
autodoc_typehints = "none"
html_static_path = ["_static"]
pygments_dark_style = "github-dark"
html_css_files = ["style.css"]
