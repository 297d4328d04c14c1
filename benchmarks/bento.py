"""The same route with BentoML."""

import bentoml  # type: ignore[import-not-found]
import joblib
import pandas as pd


@bentoml.service(workers=1, metrics={"enabled": False})
class Predict:
    def __init__(self) -> None:
        self.model = joblib.load("models/model.joblib")

    @bentoml.api(route="/predict")  # type: ignore[untyped-decorator]
    def predict(self, rows: list[dict[str, float]]) -> list[list[float]]:
        return self.model.predict_proba(pd.DataFrame(rows)).tolist()
