"""How the default model is made: distillation on free speech, then hyperparameters and LDA on labelled corpora."""
