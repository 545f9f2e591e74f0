"""What is shown: tables, figures, executed notebooks and pages, and the check that they say what the records say."""
