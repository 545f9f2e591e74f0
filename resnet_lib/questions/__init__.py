"""What is asked: the story, the paper, the suspects, other people's plateaus, each as the configs that answer it."""
