"""How the default model is made: a student of Whisper, directions learned through episodes, calibration, card."""
