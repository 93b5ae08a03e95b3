"""FewShotClassifier and what is built on it: enrolment files, scikit-learn estimators, ONNX export."""

from __future__ import annotations

from ser_fewshot.classifier.few_shot import FewShotClassifier
from ser_fewshot.classifier.prediction import NearestClip, Prediction
from ser_fewshot.classifier.voice import Voice

__all__ = ["FewShotClassifier", "NearestClip", "Prediction", "Voice"]
