"""Two further releases of the project, for the soak: settings that its processes run with.

They are the only modules of the soak that import the project.
"""
