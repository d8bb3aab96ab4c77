"""The jobs of the command line as pages in a browser: draw, lead, compare, teach.

Nothing is drawn, trained or scored here: a page turns what is on it into the words of a command, a process beside the
server runs the command in the user's folder, and the page shows what it wrote. Needs the extra `app` (Gradio 6).
"""
