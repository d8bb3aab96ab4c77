"""The command-line jobs as pages in a browser: Draw, Lead, Compare, Teach.

Nothing is drawn, trained or scored here: a page builds a command from its fields, a process beside the
server runs the command in the user's folder, and the page shows what it wrote. Needs the extra `app` (Gradio 6).
"""
