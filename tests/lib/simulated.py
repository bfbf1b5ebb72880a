"Clients whose probabilities are known."

import numpy as np
import pandas as pd

from rumos_bank.data.contract import STATUSES, TARGET
from rumos_bank.data.synthetic import make_synthetic_clients


def judge_twins(clients: int, seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    "Synthetic clients, who defaulted, and the probabilities of a simple scorecard."
    twins = make_synthetic_clients(clients, seed=seed)
    late = (twins[list(STATUSES)] >= 1).sum(axis=1).to_numpy()
    return twins, twins[TARGET].to_numpy(), np.minimum(0.12 + 0.12 * late, 0.72)


def draw_outcomes(clients: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    "Outcomes that happen with exactly the probability given."
    rng = np.random.default_rng(seed)
    probability = rng.beta(1.1, 3.9, size=clients)
    return (rng.random(clients) < probability).astype(int), probability
