"""How the model of the package is made: distilled from a large encoder on free speech, then fitted to labels."""
