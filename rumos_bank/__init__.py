"""A credit-default model, from the notebook to production.

What people need is offered here, and is loaded when it is first asked for:

    from rumos_bank import Champion, read_settings

    champion = Champion.load(read_settings())

`dir(rumos_bank)` lists these names, and `help(rumos_bank.Champion)` explains one. The packages below
(`rumos_bank.model.search` and the others) are internal: their names may change in any release.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # what mypy and editors take to be true; `typing` itself would be the only import
if TYPE_CHECKING:
    from rumos_bank.data.contract import FIELDS as FIELDS, validate_clients as validate_clients
    from rumos_bank.data.sources import load_dataset as load_dataset
    from rumos_bank.data.synthetic import make_synthetic_clients as make_synthetic_clients
    from rumos_bank.governance.ledger import read_ledger as read_ledger
    from rumos_bank.governance.tracking import open_store as open_store
    from rumos_bank.ground.errors import RumosError as RumosError
    from rumos_bank.ground.settings import Costs as Costs, Settings as Settings, read_settings as read_settings
    from rumos_bank.model.cost import business_cost as business_cost
    from rumos_bank.model.decision import DecisionModel as DecisionModel
    from rumos_bank.model.evaluate import measure as measure
    from rumos_bank.model.explain import explain as explain
    from rumos_bank.model.families import find_family as find_family
    from rumos_bank.model.search import search as search
    from rumos_bank.monitoring.monitor import watch as watch
    from rumos_bank.operations.pipeline import run_pipeline as run_pipeline
    from rumos_bank.operations.reproduce import reproduce as reproduce
    from rumos_bank.serving.batch import predict_file as predict_file
    from rumos_bank.serving.champion import Champion as Champion, Decision as Decision
    from rumos_bank.serving.decision_log import decide_and_record as decide_and_record
    from rumos_bank.serving.replay import replay as replay

_MODULES = {  # each name and the module that defines it
    "Champion": "serving.champion",
    "Costs": "ground.settings",
    "Decision": "serving.champion",
    "DecisionModel": "model.decision",
    "FIELDS": "data.contract",
    "RumosError": "ground.errors",
    "Settings": "ground.settings",
    "business_cost": "model.cost",
    "decide_and_record": "serving.decision_log",
    "explain": "model.explain",
    "find_family": "model.families",
    "load_dataset": "data.sources",
    "make_synthetic_clients": "data.synthetic",
    "measure": "model.evaluate",
    "open_store": "governance.tracking",
    "predict_file": "serving.batch",
    "read_ledger": "governance.ledger",
    "read_settings": "ground.settings",
    "replay": "serving.replay",
    "reproduce": "operations.reproduce",
    "run_pipeline": "operations.pipeline",
    "search": "model.search",
    "validate_clients": "data.contract",
    "watch": "monitoring.monitor",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    """Return a public name, imported when it is first asked for.

    Raises `AttributeError` for any other name.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted([*__all__, "__version__"])
