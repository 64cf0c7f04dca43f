# mypy: disable-error-code="no-untyped-call, untyped-decorator, override, misc, unused-ignore"
# (numba's extension points carry no annotations)
"""How compiled code sees the state: one pointer to a table of addresses, and attributes that read as columns.

Passing forty arrays from function to function would copy some 250 words at each call and count references on every
use. A `State` inside compiled code is therefore a single pointer; `s.slots` is a column: an address and a length, read
from that table when needed. The table does not change while compiled code runs, and the compiler is told so. A column
takes indices as they are: no negative ones, no slices. It is a tenth of the code of an array view, which is why the
loop compiles in half the time. The host keeps the arrays alive while compiled code runs.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import from_dtype, types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_global, signature
from numba.extending import infer_getattr, intrinsic, lower_builtin, lower_getattr_generic, register_model, type_callable
from numpy.typing import NDArray

from polysilicon.simulator.state import FIELDS, LINE_BYTES, State

_WORDS = 3  # of the table for each array: address, length, second dimension
_WORD = ir.IntType(64)


class StateType(types.Type):
    """The compiler's type of a state."""

    def __init__(self) -> None:
        super().__init__(name="polysilicon.State")


class ColumnType(types.Type):
    """The compiler's type of a column of one or two dimensions."""

    def __init__(self, dtype: Any, ndim: int) -> None:
        self.dtype, self.ndim = dtype, ndim
        super().__init__(name=f"polysilicon.Column({dtype}, {ndim})")


STATE = StateType()
register_model(StateType)(models.OpaqueModel)
_PLACE = {name: i for i, name in enumerate(FIELDS)}
_COLUMN = {name: ColumnType(from_dtype(np.dtype(dtype)), ndim) for name, (dtype, ndim) in FIELDS.items()}


@register_model(ColumnType)
class _ColumnModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: ColumnType) -> None:
        super().__init__(dmm, fe_type, [("data", types.voidptr), ("length", types.int64), ("width", types.int64)])


# --- types -----------------------------------------------------------------------------------------------------------
@infer_getattr
class _StateAttributes(AttributeTemplate):
    key = StateType

    def generic_resolve(self, typ: StateType, attr: str) -> Any:
        return _COLUMN.get(attr)


def _item(column: Any, index: Any) -> Any:
    """Return what `column[index]` is: an element, or of two dimensions by one index a row."""
    if not isinstance(column, ColumnType):
        return None
    if column.ndim == 1 and isinstance(index, types.Integer):
        return column.dtype, index
    if column.ndim == 2 and isinstance(index, types.Integer):
        return ColumnType(column.dtype, 1), index
    if column.ndim == 2 and isinstance(index, types.BaseTuple) and len(index) == 2:
        return column.dtype, types.UniTuple(types.int64, 2)
    return None


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        found = _item(*args)
        return signature(found[0], args[0], found[1]) if found else None


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        found = _item(*args[:2])
        return signature(types.none, args[0], found[1], found[0]) if found else None


@type_callable(len)
def _type_len(context: Any) -> Any:
    return lambda column: types.int64 if isinstance(column, ColumnType) else None


# --- code ------------------------------------------------------------------------------------------------------------
@lower_getattr_generic(StateType)
def _load_column(context: Any, builder: Any, typ: StateType, value: Any, attr: str) -> Any:
    table = builder.bitcast(value, _WORD.as_pointer())
    column = cgutils.create_struct_proxy(_COLUMN[attr])(context, builder)

    def at(offset: int) -> Any:
        word = builder.load(builder.gep(table, [_WORD(_PLACE[attr] * _WORDS + offset)]))
        word.set_metadata("invariant.load", builder.module.add_metadata([]))
        return word

    column.data = builder.inttoptr(at(0), cgutils.voidptr_t)
    column.length = at(1)
    column.width = at(2)
    return column._getvalue()


def _address(context: Any, builder: Any, kind: ColumnType, column: Any, number: Any) -> Any:
    data = builder.bitcast(column.data, context.get_data_type(kind.dtype).as_pointer())
    return builder.gep(data, [number])


def _place(context: Any, builder: Any, kind: ColumnType, column: Any, index: Any) -> Any:
    """Return the address of an element."""
    if kind.ndim == 1:
        return _address(context, builder, kind, column, index)
    row, place = cgutils.unpack_tuple(builder, index, 2)
    return _address(context, builder, kind, column, builder.add(builder.mul(row, column.width), place))


@lower_builtin(operator.getitem, ColumnType, types.Integer)
@lower_builtin(operator.getitem, ColumnType, types.UniTuple)
def _get(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    kind, by = sig.args
    column = cgutils.create_struct_proxy(kind)(context, builder, args[0])
    if kind.ndim == 2 and isinstance(by, types.Integer):
        index = context.cast(builder, args[1], by, types.int64)
        row = cgutils.create_struct_proxy(sig.return_type)(context, builder)
        row.data = builder.bitcast(_address(context, builder, kind, column, builder.mul(index, column.width)), cgutils.voidptr_t)
        row.length, row.width = column.width, _WORD(0)
        return row._getvalue()
    index = context.cast(builder, args[1], by, types.int64) if kind.ndim == 1 else args[1]
    return context.unpack_value(builder, kind.dtype, _place(context, builder, kind, column, index))


@lower_builtin(operator.setitem, ColumnType, types.Integer, types.Any)
@lower_builtin(operator.setitem, ColumnType, types.UniTuple, types.Any)
def _set(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    kind, by, _ = sig.args
    column = cgutils.create_struct_proxy(kind)(context, builder, args[0])
    index = context.cast(builder, args[1], by, types.int64) if kind.ndim == 1 else args[1]
    context.pack_value(builder, kind.dtype, args[2], _place(context, builder, kind, column, index))
    return context.get_dummy_value()


@lower_builtin(len, ColumnType)
def _len(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return cgutils.create_struct_proxy(sig.args[0])(context, builder, args[0]).length


@intrinsic
def _view(typingctx: Any, table: Any) -> Any:
    """Return the state that a table of addresses describes; only inside compiled code."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.bitcast(array.data, cgutils.voidptr_t)

    return STATE(table), codegen


@intrinsic
def _fetch(typingctx: Any, column: Any, index: Any, line: Any) -> Any:
    """Ask for one cache line of an element early; its value is not needed yet, and nothing waits for it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[0]
        made = cgutils.create_struct_proxy(kind)(context, builder, args[0])
        index = builder.mul(args[1], made.width) if kind.ndim == 2 else args[1]
        address = builder.bitcast(_address(context, builder, kind, made, index), cgutils.voidptr_t)
        address = builder.gep(address, [builder.mul(args[2], _WORD(LINE_BYTES))])
        number = ir.IntType(32)
        prefetch = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        builder.call(cgutils.get_or_insert_function(builder.module, prefetch, "llvm.prefetch.p0"), [address, number(1), number(3), number(1)])
        return context.get_dummy_value()

    return types.none(column, types.int64, types.int64), codegen


view: Any = _view
fetch: Any = _fetch


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
