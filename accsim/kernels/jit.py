"""The one decorator behind which Numba is used: nopython, nogil, with a disk cache that cannot go stale.

Numba's own cache keys a compiled function by its file's time stamp, so a changed callee in another file goes
unnoticed, and its index file can be lost between two writers. Here each compiled signature is one file, written
atomically, named by a fingerprint of the function, everything it calls, the constants it reads, and the compiler, this
module included.

The folder is ``$ACCSIM_CACHE_DIR``, else ``$NUMBA_CACHE_DIR``, else ``accsim`` in the user's cache folder.
"""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from functools import cached_property, lru_cache, update_wrapper
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import numba
import numpy as np
from numba.core import types
from numba.core.caching import FunctionCache, _CacheLocator
from numba.core.registry import CPUDispatcher
from numba.core.runtime import rtsys

from accsim.kernels import library
from accsim.kernels.library import KernelCache, KernelCompiler
from accsim.kernels.turns import turn

UNREADABLE = (OSError, EOFError, pickle.UnpicklingError, AttributeError, ImportError, ValueError, IndexError, TypeError)
"""What a missing, cut-off or outdated cache file raises: the kernel is compiled anew and the file replaced."""

OPTIONS = ("error_model", "inline", "forceinline", "_nrt", "no_cpython_wrapper")
"""The options that decide what a kernel is compiled to."""

announce: Callable[[str], None] | None = None
"""Called with the name of each kernel about to be compiled, when set (the command line says so on the terminal)."""


def kernel(function=None, *, inline="never", allocates=False):
    """Compile ``function`` on first use (nopython, nogil, cached); usable for a dataflow's own ``lower`` too.

    Parameters
    ----------
    inline : ``"always"`` writes the function into its callers before they are typed, ``"late"`` when they become
        machine code, which compiles sooner. A call that is left passes each array of a NamedTuple as seven words or
        more, which takes longer than many a function.
    allocates : True for a function that makes arrays, or calls one that does. Others are compiled without Numba's
        reference counts, which cost more than the work in functions as small as these (4x on the engine).

    Divisors are not checked to be other than zero, which takes a tenth of the time of a lowering.
    With ``NUMBA_DISABLE_JIT=1`` the plain Python function is returned.
    """
    if function is None:
        return lambda f: kernel(f, inline=inline, allocates=allocates)
    if numba.config.DISABLE_JIT:
        return function
    return Kernel(function, inline, allocates)


class Kernel:
    """What Python calls. Other kernels call its `part`, the same function without a wrapper for Python.

    Most kernels are called by others alone, and a wrapper with many array arguments takes longer to compile than the
    function itself. Neither exists before its first call.
    """

    def __init__(self, function, inline, allocates):
        late = inline == "late"
        self.py_func = function
        self.targetoptions = {
            "nopython": True,
            "error_model": "numpy",
            "boundscheck": None,
            "nogil": True,
            "no_cfunc_wrapper": True,
            "_nrt": allocates,
            "forceinline": late,
            "inline": "never" if late else inline,
        }
        update_wrapper(self, function)

    def __call__(self, *args):
        """Run the kernel on these arguments."""
        return self.entry(*args)

    @cached_property
    def entry(self):
        """The function as Python calls it."""
        return _KernelDispatcher(self.py_func, self.targetoptions)

    @cached_property
    def part(self):
        """The function as kernels call it."""
        return _KernelDispatcher(self.py_func, self.targetoptions | {"no_cpython_wrapper": True})

    @property
    def _numba_type_(self):
        return types.Dispatcher(self.part)


class _KernelDispatcher(CPUDispatcher):
    """Numba's dispatcher with our compiler and cache."""

    def __init__(self, function, options):
        super().__init__(function, targetoptions=options, pipeline_class=KernelCompiler)
        self._cache = _KernelCache(function, _differing(options))

    def get_call_template(self, args, kws):
        """As Numba's, for the types of the arguments alone: none is compiled once more for a constant's value."""
        plain = {name: types.unliteral(kind) for name, kind in kws.items()}
        return super().get_call_template([types.unliteral(kind) for kind in args], plain)

    def compile(self, sig):
        """As Numba's, without a look for garbage among the millions of objects that a compilation keeps.

        What another process is compiling at this time is awaited.
        """
        collects = gc.isenabled()
        gc.disable()
        try:
            with turn(self._cache.path(sig, self.targetctx.codegen())):
                return super().compile(sig)
        finally:
            if collects:
                gc.enable()


def _differing(options):
    return [options.get(name) for name in OPTIONS]


@lru_cache(maxsize=1)
def _private_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="accsim-kernels-"))


def cache_folder() -> Path:
    """The folder of compiled kernels; a private temporary one where the user's cannot be written."""
    named = os.environ.get("ACCSIM_CACHE_DIR") or os.environ.get("NUMBA_CACHE_DIR")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "accsim"
    folder = Path(named) if named else base
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError as error:
        if named:
            raise OSError(f"the kernel cache folder {folder} cannot be made: {error}") from error
    return _private_folder()


@lru_cache(maxsize=1)
def _recipe() -> str:
    """A digest of the code by which kernels are compiled and kept."""
    return hashlib.sha256(Path(__file__).read_bytes() + Path(library.__file__).read_bytes()).hexdigest()


def fingerprint(function) -> str:
    """A digest of the function's code, its constants, and (recursively) the kernels it calls."""
    digest = hashlib.sha256()
    _feed(function, digest, set())
    return digest.hexdigest()


def _feed(function, digest, seen):
    if id(function) in seen:
        return
    seen.add(id(function))
    for code in _codes(function.__code__):
        constants = [c for c in code.co_consts if not isinstance(c, CodeType)]
        digest.update(repr((code.co_code, code.co_names, code.co_varnames, constants)).encode())
        found = [(name, function.__globals__[name]) for name in code.co_names if name in function.__globals__]
        modules = [value for _, value in found if isinstance(value, ModuleType) and value is not np]
        # what is read through a module: any name of the code that the module has
        found += [(name, vars(module)[name]) for module in modules for name in code.co_names if name in vars(module)]
        for name, value in found:
            _feed_global(name, value, digest, seen)
    for cell in function.__closure__ or ():
        _feed_global("cell", cell.cell_contents, digest, seen)


def _feed_global(name, value, digest, seen):
    if isinstance(value, Kernel):
        digest.update(repr(_differing(value.targetoptions)).encode())
        _feed(value.py_func, digest, seen)
    elif isinstance(value, FunctionType):
        _feed(value, digest, seen)
    elif isinstance(value, np.ndarray):
        digest.update(f"{name}={value.dtype}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, int | float | str | bytes | bool | tuple):
        digest.update(f"{name}={value!r}".encode())
    elif isinstance(value, type) and hasattr(value, "_fields"):
        digest.update(f"{value.__module__}.{name}={value._fields!r}".encode())


def _codes(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


class _Locator(_CacheLocator):
    """Where Numba's cache looks: our folder; the stamp is unused since the file name carries the fingerprint."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_cache_path(self):
        return str(self._folder)

    def get_source_stamp(self):
        return ""

    def get_disambiguator(self):
        return None

    @classmethod
    def from_function(cls, _py_func, _py_file):
        return cls(cache_folder())


class _Impl(KernelCache):
    _locator_classes = (_Locator,)


class _KernelCache(FunctionCache):
    """One file a compiled signature, written to a temporary name and renamed."""

    _impl_class = _Impl

    def __init__(self, py_func, options):
        super().__init__(py_func)
        self._options = options
        self._print = None

    def path(self, sig, codegen) -> Path:
        """The file of a signature."""
        if self._print is None:
            self._print = fingerprint(self._py_func)
        flags = {k: v for k, v in os.environ.items() if k.startswith("NUMBA_") and k != "NUMBA_CACHE_DIR"}
        key = (
            self._print,
            _recipe(),
            self._options,
            str(sig),
            codegen.magic_tuple(),
            sorted(flags.items()),
            numba.__version__,
            sys.version,
        )
        name = self._py_func.__qualname__.replace("<", "").replace(">", "")
        return Path(self._cache_path) / f"{name}-{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.kernel"

    def load_overload(self, sig, target_context):
        """As Numba's, without its types and operations, which take long to load and serve compilation alone."""
        rtsys.initialize(target_context)
        return self._load_overload(sig, target_context)

    def _load_overload(self, sig, target_context):
        path = self.path(sig, target_context.codegen())
        try:
            return self._impl.rebuild(target_context, pickle.loads(path.read_bytes()))
        except UNREADABLE:
            if announce is not None:
                announce(self._py_func.__qualname__)
            return None

    def _save_overload(self, sig, data):
        if not self._impl.check_cachable(data):
            return
        path = self.path(sig, data.codegen)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "wb") as file:
            file.write(pickle.dumps(self._impl.reduce(data), protocol=-1))
        Path(temporary).replace(path)
