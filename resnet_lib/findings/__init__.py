"""What the records say: statistics, and the sentences and verdicts that they allow; never imports torch."""
