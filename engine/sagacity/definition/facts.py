"""What is known of a saga, as the values its functions ask for.

Stored values are text; they are decoded only when somebody takes them, and once. A value that
goes back is validated against what its step declared, so nothing is stored that could not be read again.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from sagacity.definition.flow import Flow, Param
from sagacity.errors import InputError, MissingExternal
from sagacity.model.canonical import NULL, Json, canonical, parsed

if TYPE_CHECKING:
    from sagacity.definition.params import About
    from sagacity.definition.stage import Stage


class Facts:
    """The input and the results of one saga, decoded on demand.

    Args:
        flow: whose types the values have.
        input: canonical JSON of the saga's input.
        results: step or wait name → canonical JSON of its latest result.
    """

    __slots__ = ("_inputs", "_results", "flow", "input_json", "results")

    def __init__(self, flow: Flow, input: Json, results: Mapping[str, Json]) -> None:
        self.flow = flow
        self.input_json = input
        self.results = results
        self._inputs: dict[Any, Any] = {}
        self._results: dict[str, Any] = {}

    @property
    def input(self) -> Any:
        """The saga's input."""
        return self.input_as(self.flow.input)

    def input_as(self, model: type[BaseModel]) -> Any:
        """The saga's input built as `model`, which may have fewer fields."""
        if model not in self._inputs:
            extra: Any = None if model is self.flow.input else "ignore"
            self._inputs[model] = model.model_validate_json(self.input_json, extra=extra)
        return self._inputs[model]

    def result(self, source: str) -> Any:
        """What the step or wait `source` gave; None where it has not run or gave nothing."""
        if source not in self._results:
            text = self.results.get(source, NULL)
            self._results[source] = None if text == NULL else self._adapter(source).validate_json(text)
        return self._results[source]

    def _adapter(self, source: str) -> TypeAdapter[Any]:
        step = self.flow.steps.get(source)
        return step.result if step is not None else self.flow.awaits[source].data

    def bound(
        self,
        params: tuple[Param, ...],
        *,
        externals: Mapping[str, Any] | None = None,
        stage: "Stage | None" = None,
        about: "About | None" = None,
        extra: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The keyword arguments for a function with `params`.

        Args:
            params: what the function wants.
            externals: external's name → what stands for it.
            stage: given to a parameter of type `Stage`.
            about: given to a parameter of type `About`.
            extra: parameter's name → value; goes before everything else.

        Raises:
            InputError: a result is needed that is not there.
            MissingExternal: an external is needed that was not made in this process.
        """
        given = dict(extra or {})
        for param in params:
            if param.name in given:
                continue
            if param.kind == "input":
                given[param.name] = self.input_as(param.type)
            elif param.kind == "result":
                given[param.name] = self._latest(param)
            elif param.kind == "external":
                given[param.name] = _external(param, externals or {})
            else:
                given[param.name] = stage if param.kind == "stage" else about
        return given

    def call(self, function: Callable[..., Any], params: tuple[Param, ...], **given: Any) -> Any:
        """`function` called with what it wants; see `bound`."""
        return function(**self.bound(params, **given))

    def _latest(self, param: Param) -> Any:
        for source in param.source:
            value = self.result(source)
            if value is not None:
                return value
        if param.optional:
            return None
        raise InputError(
            f"{self.flow.name}: `{param.name}` needs the result of {' or '.join(param.source)}, "
            f"which has not run: write `{param.name}: {param.type.__name__} | None`"
        )


def _external(param: Param, externals: Mapping[str, Any]) -> Any:
    try:
        return externals[param.type.name]
    except KeyError:
        name = param.type.name
        raise MissingExternal(
            f"external {name!r} was not made in this process: set SAGACITY_{name.upper()}_URL"
        ) from None


def encoded(adapter: TypeAdapter[Any], value: Any, *, what: str) -> Json:
    """`value` as canonical JSON, after checking that it is what `adapter` declares.

    Raises:
        InputError: it is something else; `what` names whose value it is.
    """
    try:
        checked = adapter.validate_python(value)
    except ValidationError as error:
        raise InputError(f"{what}: {brief(error)}") from None
    return canonical(adapter.dump_python(checked, mode="python"))


def decoded(adapter: TypeAdapter[Any], text: Json | str, *, what: str) -> Any:
    """The value that canonical JSON `text` stands for.

    Raises:
        InputError: it is not what `adapter` declares; `what` names whose value it is.
    """
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        raise InputError(f"{what}: {brief(error)}") from None


def read_input(flow: Flow, given: Any, *, ignore_unknown: bool = False) -> Json:
    """The input of a new saga as canonical JSON.

    Args:
        flow: whose `Input` it is to be.
        given: the model itself, plain values, or JSON text.
        ignore_unknown: drop fields that `Input` does not have rather than refuse them.

    Raises:
        InputError: it does not fit; the message names each field.
    """
    extra: Any = "ignore" if ignore_unknown else "forbid"
    try:
        if isinstance(given, str | bytes):
            parsed(given)  # refuses what pydantic would let pass: NaN, a key twice
            model = flow.input.model_validate_json(given, extra=extra)
        elif isinstance(given, flow.input):
            model = given
        else:
            plain = given.model_dump(mode="python") if isinstance(given, BaseModel) else given
            model = flow.input.model_validate(plain, extra=extra)
    except ValidationError as error:
        raise InputError(f"{flow.name}: {brief(error)}") from None
    return canonical(model)


def brief(error: ValidationError) -> str:
    """Pydantic's complaints in one line: `field: what`, several joined by `; `."""
    told = []
    for item in error.errors(include_url=False, include_context=False):
        place = ".".join(str(part) for part in item["loc"]) or "value"
        message = "unknown field" if item["type"] == "extra_forbidden" else item["msg"]
        told.append(f"{place}: {message[0].lower()}{message[1:]}")
    return "; ".join(told)
