"""How kernels become machine code: each once, as a part of what Python calls.

Numba optimises and translates every function alone, and once more inside each of its callers, callers of callers, and
so on. A kernel that only other kernels call is needed as their part alone: it is kept as it was lowered, and becomes
machine code inside the kernels that Python calls.
"""

from __future__ import annotations

import llvmlite.binding as llvm
from numba.core.caching import CompileResultCacheImpl
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, Flags, compile_result

ENVIRONMENT = "_ZN08NumbaEnv"


class Part(JITCodeLibrary):
    """The code of a kernel that only other kernels call, and of what it calls: linked, not translated."""

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._define_environments()
        self._finalized = True

    def _define_environments(self):
        """Give the engine the pointers that Numba sets as soon as a function is compiled."""
        names = [found.name for found in self._final_module.global_variables if found.name.startswith(ENVIRONMENT)]
        text = "\n".join(f'@"{name}" = common global ptr null' for name in names)
        self._codegen._add_module(llvm.parse_assembly(text))
        self._codegen._engine.finalize_object()

    def get_pointer_to_function(self, _name):
        """No address: it has none of its own."""
        self._ensure_finalized()
        return 0

    def serialize_using_object_code(self):
        """Name, kind and bitcode, for the cache."""
        return self.name, "part", self._get_module_for_linking().as_bitcode()


class Entry(JITCodeLibrary):
    """The code of a kernel that Python calls, with the parts that it calls: machine code, linked to nothing."""

    def _optimize_final_module(self):
        """In one round, with the passes of Numba's two: its first serves reference counts, which are rare here."""
        passes, builder = self._codegen._module_pass_manager(cost="cheap")
        passes.run(self._final_module, builder)

    def get_pointer_to_function(self, name):
        """The address of what Python calls; of cached machine code too, whose names the engine does not list."""
        self._ensure_finalized()
        return self._codegen._engine.get_function_address(name)

    def serialize_using_object_code(self):
        """Name, kind and machine code, for the cache."""
        return self.name, "entry", self._get_compiled_object()


_DEFAULTS = Flags().values()
_HASH = hash(Flags())


class QuickFlags(Flags):
    """Numba's flags of a compilation, which it compares at every call of a function that NumPy's stand for."""

    __slots__ = ()

    def __hash__(self):
        return _HASH

    def values(self):
        """The value of every flag by its name."""
        return _DEFAULTS | self._values


class KernelCompiler(Compiler):
    """Numba's compiler, with a `Part` for a kernel without a wrapper for Python and an `Entry` for the others."""

    def __init__(self, typing_context, target_context, library, args, return_type, flags, locals):  # noqa: A002 (Numba's)
        super().__init__(typing_context, target_context, library, args, return_type, QuickFlags(flags), locals)

    def compile_extra(self, func):
        """As Numba's, into our kinds of libraries."""
        kind = Part if self.state.flags.no_cpython_wrapper else Entry
        self.state.library = kind(self.state.targetctx.codegen(), func.__qualname__)
        self.state.library.enable_object_caching()
        return super().compile_extra(func)


class KernelCache(CompileResultCacheImpl):
    """What a cache file holds, and back."""

    def rebuild(self, target_context, payload):
        """The compiled kernel of what `CompileResult._reduce` made."""
        (name, kind, code), fndesc, environment, signature, objectmode, lifted, annotation, reloads, others = payload
        library = (Part if kind == "part" else Entry)(target_context.codegen(), name)
        if kind == "part":
            library._final_module = llvm.parse_bitcode(code)
        else:
            library.enable_object_caching()
            library._set_compiled_object(code)
        library._finalize_final_module()
        for found in others:
            library.codegen.set_env(found.env_name, found)
        return compile_result(
            target_context=target_context,
            typing_context=target_context.typing_context,
            library=library,
            environment=environment,
            entry_point=target_context.get_executable(library, fndesc, environment),
            fndesc=fndesc,
            type_annotation=annotation,
            signature=signature,
            objectmode=objectmode,
            lifted=lifted,
            reload_init=reloads,
            referenced_envs=others,
        )
