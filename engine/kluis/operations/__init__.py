"""What can be done with a repository: one verb each, `verb(repository, options, context)`."""
