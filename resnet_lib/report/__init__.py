"""What is shown: tables, figures, pages, what is outstanding, and the check that all of it is what the records say."""
