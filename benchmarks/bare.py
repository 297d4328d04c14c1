"""What a service is without src/service: one route that calls the model on a DataFrame."""

import joblib
import pandas as pd
from fastapi import FastAPI

model = joblib.load("models/model.joblib")
app = FastAPI()


@app.post("/predict")
def predict(rows: list[dict[str, float]] | dict[str, float]) -> list[list[float]]:
    frame = pd.DataFrame([rows] if isinstance(rows, dict) else rows)
    return model.predict_proba(frame).tolist()
