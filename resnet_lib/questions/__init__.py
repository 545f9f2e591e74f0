"""What is asked: the story, the paper, the suspects, each as the configs that answer it."""
