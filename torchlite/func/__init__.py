"""Functions of functions, as in `torch.func`: gradients, Jacobians, `vmap`, and modules as pure functions."""

from torchlite.batching.vmap import vmap
from torchlite.func.functional_call import functional_call, replace_all_batch_norm_modules_, stack_module_state
from torchlite.func.transforms import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, vjp

__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
    "vjp",
    "vmap",
]
