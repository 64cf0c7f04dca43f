# mypy: disable-error-code="no-untyped-call, untyped-decorator, override, misc, unused-ignore"
# (numba's extension points carry no annotations)
"""How compiled code sees the state: one pointer to a table of addresses, and attributes that read as arrays.

Passing forty arrays from function to function would copy some 250 words at each call and count references on every
use. A `State` inside compiled code is therefore a single pointer; `s.slots` loads the address and the shape of that
array and makes a view of it that owns nothing. The host keeps the arrays alive while compiled code runs.

Trap: no `np.array([... for ...])` in compiled code. That form makes numba run a dead-code pass, which believes that a
store through `s.residue[...]` goes to a temporary and drops it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import from_dtype, types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, register_model
from numba.np.arrayobj import populate_array
from numpy.typing import NDArray

from polysilicon.simulator.state import FIELDS, State

_WORDS = 3  # of the table for each array: address, length, second dimension


class StateType(types.Type):
    """The compiler's type of a state."""

    def __init__(self) -> None:
        super().__init__(name="polysilicon.State")


STATE = StateType()
register_model(StateType)(models.OpaqueModel)
_PLACE = {name: i for i, name in enumerate(FIELDS)}
_ARRAY = {name: types.Array(from_dtype(np.dtype(dtype)), ndim, "C") for name, (dtype, ndim) in FIELDS.items()}


@infer_getattr
class _StateAttributes(AttributeTemplate):
    key = StateType

    def generic_resolve(self, typ: StateType, attr: str) -> Any:
        return _ARRAY.get(attr)


@lower_getattr_generic(StateType)
def _load_array(context: Any, builder: Any, typ: StateType, value: Any, attr: str) -> Any:
    array_type = _ARRAY[attr]
    word = ir.IntType(64)
    table = builder.bitcast(value, word.as_pointer())

    def at(offset: int) -> Any:
        return builder.load(builder.gep(table, [word(_PLACE[attr] * _WORDS + offset)]))

    itemsize = np.dtype(FIELDS[attr][0]).itemsize
    shape = [at(1 + d) for d in range(array_type.ndim)]
    strides = [word(itemsize)] if array_type.ndim == 1 else [builder.mul(shape[1], word(itemsize)), word(itemsize)]
    array = context.make_array(array_type)(context, builder)
    data = builder.inttoptr(at(0), context.get_data_type(array_type.dtype).as_pointer())
    populate_array(array, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
    return array._getvalue()


@intrinsic
def _view(typingctx: Any, table: Any) -> Any:
    """Return the state that a table of addresses describes; only inside compiled code."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.bitcast(array.data, cgutils.voidptr_t)

    return STATE(table), codegen


view: Any = _view


def table_of(state: State) -> NDArray[np.int64]:
    """Return the table of addresses of a state's arrays; valid as long as the state is kept."""
    table = np.zeros(len(FIELDS) * _WORDS, np.int64)
    for i, (name, (dtype, ndim)) in enumerate(FIELDS.items()):
        array = getattr(state, name)
        if array.dtype != dtype or array.ndim != ndim or not array.flags.c_contiguous or not array.flags.writeable:
            raise TypeError(f"{name} is {array.dtype} x {array.ndim}; compiled code expects {dtype} x {ndim}, contiguous")
        table[i * _WORDS] = array.ctypes.data
        table[i * _WORDS + 1 : i * _WORDS + 1 + ndim] = array.shape
    return table
