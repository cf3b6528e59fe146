"""Misuse, and what torchlite says to it: what is wrong, with which shapes and dtypes, and what to do about it.

``tests/test_errors.py`` compares the texts letter by letter, ``tests/parity/test_errors.py`` the types with PyTorch's. A
text that became better is changed here.
"""

from collections.abc import Callable
from typing import Any

MISUSE: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "add": (
        lambda T: T.zeros(2, 3) + T.zeros(4),
        RuntimeError,
        "add: shapes [2, 3] and [4] can't be broadcast together: dimension 1 is 3 and 4; lengths must be equal or 1",
    ),
    "add in place": (
        lambda T: T.zeros(2).add_(T.zeros(3, 2)),
        RuntimeError,
        "add_: output with shape [2] doesn't match the broadcast shape [3, 2]",
    ),
    "mul in place cast": (
        lambda T: T.ones(2, dtype=T.int64).mul_(0.5),
        RuntimeError,
        "mul_: result type float32 can't be cast to the desired output type int64",
    ),
    "operand": (
        lambda T: T.zeros(2) + "a",
        TypeError,
        "add: expected a Tensor or a number, got str",
    ),
    "floor division": (
        lambda T: T.tensor([1]) // T.tensor([0]),
        RuntimeError,
        "ZeroDivisionError: integer division by zero",
    ),
    "devices": (
        lambda T: T.zeros(2) + T.zeros(2, device="meta"),
        RuntimeError,
        "add: expected all tensors to be on the same device, but found cpu and meta; move them with .to(device)",
    ),
    "where": (
        lambda T: T.where(T.zeros(2, 3) > 0, T.zeros(4), T.zeros(2, 3)),
        RuntimeError,
        "where: shapes [2, 3] and [4] and [2, 3] can't be broadcast together: dimension 1 is 3 and 4; "
        "lengths must be equal or 1",
    ),
    "clamp": (
        lambda T: T.clamp(T.zeros(2)),
        RuntimeError,
        "torch.clamp: At least one of 'min' or 'max' must not be None",
    ),
    "matmul": (
        lambda T: T.zeros(2, 3) @ T.zeros(4, 5),
        RuntimeError,
        "matmul: shapes [2, 3] and [4, 5] cannot be multiplied: 3 columns against 4 rows",
    ),
    "matmul 0-d": (
        lambda T: T.tensor(1.0) @ T.zeros(2),
        RuntimeError,
        "matmul: both arguments need to be at least 1D, but they are 0D and 1D",
    ),
    "matmul dtypes": (
        lambda T: T.zeros(2, 3) @ T.zeros(3, 5, dtype=T.float64),
        RuntimeError,
        "matmul: expected both to have the same dtype, but got torch.float32 and torch.float64",
    ),
    "mm": (
        lambda T: T.mm(T.zeros(2, 3, 4), T.zeros(4, 5)),
        RuntimeError,
        "mm: expected a 2-D tensor, got shape [2, 3, 4]",
    ),
    "bmm": (
        lambda T: T.bmm(T.zeros(2, 3, 4), T.zeros(3, 4, 5)),
        RuntimeError,
        "bmm: batches of shape [2, 3, 4] and [3, 4, 5] cannot be multiplied: expected [b, n, m] and [b, m, p]",
    ),
    "dot": (
        lambda T: T.dot(T.zeros(2), T.zeros(3)),
        RuntimeError,
        "dot: expected two vectors of one length, got [2] and [3]",
    ),
    "mv": (
        lambda T: T.mv(T.zeros(2, 3), T.zeros(2)),
        RuntimeError,
        "mv: a matrix [2, 3] and a vector [2] cannot be multiplied: 3 columns against 2 elements",
    ),
    "einsum": (
        lambda T: T.einsum("ij,jk->ik", T.zeros(2, 3), T.zeros(4, 5)),
        RuntimeError,
        "einsum(): subscript j of 'ij,jk->ik' has length 3 and 4 in operands of shape [2, 3] and [4, 5]",
    ),
    "einsum operands": (
        lambda T: T.einsum("ij,jk->ik", T.zeros(2, 3)),
        RuntimeError,
        "einsum(): the equation 'ij,jk->ik' has 2 operands, but 1 were given",
    ),
    "sum dim": (
        lambda T: T.zeros(2, 3).sum(2),
        IndexError,
        "sum: Dimension out of range (expected to be in range of [-2, 1], but got 2)",
    ),
    "sum dim twice": (
        lambda T: T.zeros(2, 3).sum((0, 0)),
        RuntimeError,
        "sum: dim (0, 0) names a dimension twice",
    ),
    "mean of integers": (
        lambda T: T.zeros(2, dtype=T.int64).mean(),
        RuntimeError,
        "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
        "Got: torch.int64",
    ),
    "max of nothing": (
        lambda T: T.zeros(0).max(),
        RuntimeError,
        "max(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
        "with the 'dim' argument.",
    ),
    "argmax of nothing": (
        lambda T: T.zeros(0, 3).argmax(0),
        IndexError,
        "argmax(): Expected reduction dim 0 to have non-zero size.",
    ),
    "topk": (
        lambda T: T.zeros(3).topk(4),
        RuntimeError,
        "selected index k out of range: k is 4, dimension -1 has 3 elements",
    ),
    "kthvalue": (
        lambda T: T.zeros(3).kthvalue(0),
        RuntimeError,
        "kthvalue(): selected number k out of range for dimension -1: k is 0 of 3 elements",
    ),
    "quantile": (
        lambda T: T.quantile(T.zeros(3), 1.5),
        RuntimeError,
        "quantile() q values must be in the range [0, 1]",
    ),
    "cumsum": (
        lambda T: T.zeros(3).cumsum(1),
        IndexError,
        "cumsum: Dimension out of range (expected to be in range of [-1, 0], but got 1)",
    ),
    "softmax": (
        lambda T: T.softmax(T.zeros(2, 3), 2),
        IndexError,
        "softmax: Dimension out of range (expected to be in range of [-2, 1], but got 2)",
    ),
    "view": (
        lambda T: T.zeros(2, 3).view(4, 2),
        RuntimeError,
        "shape '[4, 2]' is invalid for input of size 6 (shape [2, 3])",
    ),
    "view strides": (
        lambda T: T.zeros(2, 3).t().view(6),
        RuntimeError,
        "view size [6] is not compatible with input tensor's size [3, 2] and stride (at least one dimension "
        "spans across two contiguous subspaces). Use .reshape(...) instead.",
    ),
    "reshape": (
        lambda T: T.zeros(2, 3).reshape(-1, 4),
        RuntimeError,
        "shape '[-1, 4]' is invalid for input of size 6 (shape [2, 3])",
    ),
    "two -1": (
        lambda T: T.zeros(2, 3).reshape(-1, -1),
        RuntimeError,
        "reshape: only one dimension can be inferred and none be negative, got shape [-1, -1]",
    ),
    "expand": (
        lambda T: T.zeros(2, 3).expand(2, 4),
        RuntimeError,
        "expand: a tensor of shape [2, 3] can't be expanded to [2, 4]: existing lengths must be 1 or equal",
    ),
    "permute": (
        lambda T: T.zeros(2, 3).permute(0, 0),
        RuntimeError,
        "permute: dim (0, 0) names a dimension twice",
    ),
    "transpose": (
        lambda T: T.zeros(2, 3).transpose(0, 2),
        IndexError,
        "Dimension out of range (expected to be in range of [-2, 1], but got 2) for a tensor of shape [2, 3]",
    ),
    "t": (
        lambda T: T.zeros(2, 3, 4).t(),
        RuntimeError,
        "t() expects a tensor with <= 2 dimensions, but self is 3D",
    ),
    "squeeze": (
        lambda T: T.zeros(2, 1).squeeze(2),
        IndexError,
        "squeeze: Dimension out of range (expected to be in range of [-2, 1], but got 2)",
    ),
    "unsqueeze": (
        lambda T: T.zeros(2).unsqueeze(3),
        IndexError,
        "unsqueeze: Dimension out of range (expected to be in range of [-2, 1], but got 3)",
    ),
    "cat": (
        lambda T: T.cat([T.zeros(2, 3), T.zeros(2, 4)]),
        RuntimeError,
        "cat: sizes of tensors must match except in dimension 0: tensor 0 has shape [2, 3], tensor 1 has shape [2, 4]",
    ),
    "cat nothing": (
        lambda T: T.cat([]),
        ValueError,
        "cat expects a non-empty sequence of tensors",
    ),
    "stack": (
        lambda T: T.stack([T.zeros(2), T.zeros(3)]),
        RuntimeError,
        "stack expects each tensor to be equal size, but got [2] at entry 0 and [3] at entry 1",
    ),
    "split": (
        lambda T: T.zeros(5).split([2, 2]),
        RuntimeError,
        "split_with_sizes expects split_sizes have only non-negative entries and to sum exactly to 5 (input "
        "tensor's size at dimension 0), but got split_sizes=[2, 2]",
    ),
    "chunk": (
        lambda T: T.zeros(5).chunk(0),
        RuntimeError,
        "chunk expects `chunks` to be greater than 0, got: 0",
    ),
    "narrow": (
        lambda T: T.zeros(5).narrow(0, 3, 3),
        RuntimeError,
        "narrow: start (3) + length (3) exceeds dimension size (5) for dimension 0 of a tensor of shape [5]",
    ),
    "flip": (
        lambda T: T.zeros(2).flip(1),
        IndexError,
        "flip: Dimension out of range (expected to be in range of [-1, 0], but got 1)",
    ),
    "index": (
        lambda T: T.zeros(2, 3)[5],
        IndexError,
        "index 5 is out of bounds for dimension 0 with size 2",
    ),
    "too many indices": (
        lambda T: T.zeros(2, 3)[0, 0, 0],
        IndexError,
        "too many indices for tensor of dimension 2: 3 for shape [2, 3]",
    ),
    "index dtype": (
        lambda T: T.zeros(3)[T.tensor([0.5])],
        IndexError,
        "tensors used as indices must be long, int, byte or bool tensors, got torch.float32",
    ),
    "mask": (
        lambda T: T.zeros(2, 3)[T.tensor([True, False, True])],
        IndexError,
        "The shape of the mask [3] at index 0 does not match the shape of the indexed tensor [2, 3] at index 0",
    ),
    "index assignment": (
        lambda T: T.zeros(2, 3).__setitem__(0, T.zeros(4)),
        RuntimeError,
        "copy_: shape [4] can't be broadcast to shape [3]",
    ),
    "index_select": (
        lambda T: T.zeros(2).index_select(0, T.tensor([2])),
        IndexError,
        "index 2 is out of bounds for dimension 0 with size 2",
    ),
    "gather": (
        lambda T: T.zeros(2, 2).gather(1, T.tensor([[4]])),
        RuntimeError,
        "index 4 is out of bounds for dimension 1 with size 2",
    ),
    "gather dtype": (
        lambda T: T.zeros(2, 2).gather(1, T.tensor([[0.0]])),
        RuntimeError,
        "gather(): Expected dtype int32/int64 for index, got torch.float32",
    ),
    "masked_fill": (
        lambda T: T.zeros(2).masked_fill(T.tensor([0, 1]), 1.0),
        RuntimeError,
        "masked_fill only supports boolean masks, but got mask with dtype torch.int64",
    ),
    "slice step": (
        lambda T: T.zeros(4)[::-1],
        ValueError,
        "step must be greater than zero, got -1; .flip(dim) reverses the order",
    ),
    "negative shape": (
        lambda T: T.zeros(2, -1),
        RuntimeError,
        "Trying to create tensor with negative dimension: [2, -1]",
    ),
    "arange step": (
        lambda T: T.arange(0, 5, -1),
        RuntimeError,
        "arange: upper bound and lower bound inconsistent with step sign: from 0 to 5 by -1",
    ),
    "device name": (
        lambda T: T.zeros(2, device="gpu"),
        RuntimeError,
        "no such device: 'gpu'; expected 'cpu', 'cuda', 'cuda:N' or 'meta'",
    ),
    "from_numpy": (
        lambda T: T.from_numpy([1.0]),
        TypeError,
        "from_numpy: expected np.ndarray (got list); use torchlite.tensor(...)",
    ),
    "item": (
        lambda T: T.zeros(2).item(),
        RuntimeError,
        "a Tensor with 2 elements cannot be converted to Scalar: its shape is [2]",
    ),
    "bool": (
        lambda T: bool(T.zeros(2)),
        RuntimeError,
        "Boolean value of Tensor with more than one value is ambiguous: its shape is [2]; use .any() or .all()",
    ),
    "float": (
        lambda T: float(T.zeros(2, 2)),
        ValueError,
        "only one element tensors can be converted to Python scalars; this one has shape [2, 2]",
    ),
    "int": (
        lambda T: int(T.zeros(0)),
        ValueError,
        "only one element tensors can be converted to Python scalars; this one has shape [0]",
    ),
    "index of float": (
        lambda T: [1, 2][T.tensor(1.0)],
        TypeError,
        "only integer tensors of a single element can be converted to an index",
    ),
    "len": (
        lambda T: len(T.tensor(1.0)),
        TypeError,
        "len() of a 0-d tensor",
    ),
    "iteration": (
        lambda T: iter(T.tensor(1.0)),
        TypeError,
        "iteration over a 0-d tensor",
    ),
    "meta item": (
        lambda T: T.zeros(1, device="meta").item(),
        RuntimeError,
        "can't copy out of a tensor on device 'meta': it has a shape and a dtype but no data",
    ),
    "numpy of recorded": (
        lambda T: T.zeros(2, requires_grad=True).numpy(),
        RuntimeError,
        "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.",
    ),
    "requires_grad of integers": (
        lambda T: T.zeros(2, dtype=T.int64, requires_grad=True),
        RuntimeError,
        "only Tensors of floating point and complex dtype can require gradients, got torch.int64",
    ),
    "requires_grad of result": (
        lambda T: setattr(T.zeros(2, requires_grad=True) * 2, "requires_grad", False),
        RuntimeError,
        "you can only change requires_grad flags of leaf variables. If you want to use a computed variable "
        "in a subgraph that doesn't require differentiation use var_no_grad = var.detach().",
    ),
    "backward of vector": (
        lambda T: (T.zeros(2, requires_grad=True) * 2).backward(),
        RuntimeError,
        "grad can be implicitly created only for scalar outputs: this one has shape [2]; reduce it with "
        ".sum() or .mean(), or pass its gradient",
    ),
    "backward of constant": (
        lambda T: T.zeros(()).backward(),
        RuntimeError,
        "element 0 of tensors does not require grad and does not have a grad_fn",
    ),
    "backward shape": (
        lambda T: (T.zeros(2, requires_grad=True) * 2).backward(T.ones(3)),
        RuntimeError,
        "Mismatch in shape: the gradient has shape [3] and the tensor has shape [2]",
    ),
    "backward twice": (
        lambda T: [y.backward() for y in [T.ones((), requires_grad=True).exp()] * 2],
        RuntimeError,
        "Trying to backward through the graph a second time (or directly access saved tensors after they "
        "have already been freed): what exp saved was freed by the first backward. Specify retain_graph=True "
        "there if you need to backward through the graph a second time or to access saved tensors after "
        "backward.",
    ),
    "grad of unused": (
        lambda T: T.autograd.grad(T.ones((), requires_grad=True) * 2, T.ones(1, requires_grad=True)),
        RuntimeError,
        "One of the differentiated Tensors appears to not have been used in the graph: inputs[0]. Set "
        "allow_unused=True if this is the desired behavior.",
    ),
    "grad of constant": (
        lambda T: T.autograd.grad(T.ones((), requires_grad=True) * 2, T.ones(1)),
        RuntimeError,
        "One of the differentiated Tensors does not require grad: inputs[0]",
    ),
    "saved and overwritten": (
        lambda T: [
            (y.backward(), 1) for h in [T.ones((), requires_grad=True) * 1] for y in [h.exp()] for _ in [y.add_(1)]
        ],
        RuntimeError,
        "one of the variables needed for gradient computation has been modified by an inplace operation: the "
        "result of exp, of shape [] and dtype float32, was overwritten after it was saved for backward. Use "
        "the out-of-place operator, or .clone() before the write.",
    ),
    "leaf in place": (
        lambda T: T.zeros(2, requires_grad=True).add_(1),
        RuntimeError,
        "a leaf Variable that requires grad is being used in an in-place operation; write inside torchlite.no_grad()",
    ),
    "view of leaf in place": (
        lambda T: T.zeros(2, requires_grad=True)[0].add_(1),
        RuntimeError,
        "a view of a leaf Variable that requires grad is being used in an in-place operation; write inside "
        "torchlite.no_grad()",
    ),
    "out with gradient": (
        lambda T: T.add(T.zeros(2, requires_grad=True), 1, out=T.zeros(2)),
        RuntimeError,
        "add(): functions with out=... arguments don't support automatic differentiation, but one of the "
        "arguments requires grad.",
    ),
    "out dtype": (
        lambda T: T.add(T.zeros(2), 1.5, out=T.zeros(2, dtype=T.int64)),
        RuntimeError,
        "add(): result type float32 can't be cast to the desired output type int64",
    ),
    "grad shape": (
        lambda T: setattr(T.zeros(2, requires_grad=True), "grad", T.zeros(3)),
        RuntimeError,
        "assigned grad has data of a different size: got [3] for a tensor of shape [2]",
    ),
    "inverse shape": (
        lambda T: T.linalg.inv(T.zeros(2, 3)),
        RuntimeError,
        "linalg.inv: A must be batches of square matrices, but they are 2 by 3 matrices",
    ),
    "solve": (
        lambda T: T.linalg.solve(T.eye(2), T.zeros(3)),
        RuntimeError,
        "linalg.solve: Incompatible shapes of A [2, 2] and B [3], left=True",
    ),
    "fft": (
        lambda T: T.fft.fft(T.zeros(3), n=0),
        RuntimeError,
        "fft: Invalid number of data points (0) specified",
    ),
    "linear": (
        lambda T: T.nn.Linear(3, 2)(T.zeros(4, 5)),
        RuntimeError,
        "linear: input of shape [4, 5] has 5 features, but the weight [2, 3] expects 3",
    ),
    "linear of a string": (
        lambda T: T.nn.Linear(3, 2)("x"),
        TypeError,
        "linear(): argument 'input' must be Tensor, not str",
    ),
    "conv2d": (
        lambda T: T.nn.Conv2d(3, 8, 3)(T.zeros(1, 1, 8, 8)),
        RuntimeError,
        "conv2d: given groups=1, weight of size [8, 3, 3, 3], expected input [1, 1, 8, 8] to have 3 "
        "channels, but got 1 channels instead",
    ),
    "conv2d dtype": (
        lambda T: T.nn.Conv2d(3, 8, 3)(T.zeros(1, 3, 8, 8, dtype=T.float64)),
        RuntimeError,
        "conv2d: input is torch.float64 and weight is torch.float32; convert one with .to()",
    ),
    "layer_norm": (
        lambda T: T.nn.LayerNorm(3)(T.zeros(2, 4)),
        RuntimeError,
        "layer_norm: Given normalized_shape=[3], expected input with shape [*, 3], but got input of size [2, 4]",
    ),
    "embedding": (
        lambda T: T.nn.Embedding(3, 2)(T.tensor([3])),
        IndexError,
        "index 3 is out of bounds for dimension 0 with size 3",
    ),
    "dropout": (
        lambda T: T.nn.functional.dropout(T.zeros(2), 1.5),
        ValueError,
        "dropout probability has to be between 0 and 1, but got 1.5",
    ),
    "cross_entropy target": (
        lambda T: T.nn.CrossEntropyLoss()(T.zeros(2, 3), T.tensor([0, 3])),
        IndexError,
        "Target 3 is out of bounds: the logits have 3 classes",
    ),
    "cross_entropy dtype": (
        lambda T: T.nn.CrossEntropyLoss()(T.zeros(2, 3), T.tensor([0, 1], dtype=T.bool)),
        RuntimeError,
        "cross_entropy: the target must hold class indices (int64), got torch.bool; use target.long()",
    ),
    "cross_entropy sizes": (
        lambda T: T.nn.CrossEntropyLoss()(T.zeros(2, 3), T.tensor([0, 1, 2])),
        ValueError,
        "Expected input batch_size (2) to match target batch_size (3).",
    ),
    "normal": (
        lambda T: T.normal(T.zeros(2), -T.ones(2)),
        RuntimeError,
        "normal expects all elements of std >= 0.0, but found a negative one",
    ),
    "multinomial": (
        lambda T: T.multinomial(T.zeros(3), 2),
        RuntimeError,
        "invalid multinomial distribution (sum of probabilities <= 0)",
    ),
    "bernoulli": (
        lambda T: T.bernoulli(T.tensor([2.0])),
        RuntimeError,
        "Expected p_in >= 0 && p_in <= 1 to be true, but got probabilities outside [0, 1]",
    ),
    "randint": (
        lambda T: T.randint(5, 5, (2,)),
        RuntimeError,
        "random_ expects 'from' to be less than 'to', but got from=5 >= to=5",
    ),
    "default dtype": (
        lambda T: T.set_default_dtype(T.int32),
        TypeError,
        "only floating-point types are supported as the default type, got torch.int32",
    ),
    "vmap": (
        lambda T: T.vmap(lambda x, y: x + y)(T.zeros(2), T.zeros(3)),
        ValueError,
        "vmap: expected all tensors to have the same size in the mapped dimension, got [2, 3]",
    ),
    "func.grad": (
        lambda T: T.func.grad(lambda x: x * 2)(T.zeros(2)),
        RuntimeError,
        "grad: expected the function to return a Tensor without dimensions, got shape [2]",
    ),
    "optimizer": (
        lambda T: T.optim.SGD([], lr=0.1),
        ValueError,
        "optimizer got an empty parameter list",
    ),
    "diagonal": (
        lambda T: T.zeros(3).diagonal(),
        IndexError,
        "Dimension out of range (expected to be in range of [-1, 0], but got 1) for a tensor of shape [3]",
    ),
    "repeat": (
        lambda T: T.zeros(2, 3).repeat(2),
        RuntimeError,
        "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor: repeat "
        "got [2] for a tensor of shape [2, 3]",
    ),
    "movedim": (
        lambda T: T.zeros(2, 3).movedim((0, 1), (0, 0)),
        RuntimeError,
        "movedim: dim (0, 0) names a dimension twice",
    ),
    "cross": (
        lambda T: T.linalg.cross(T.zeros(2), T.zeros(2)),
        RuntimeError,
        "linalg.cross: inputs dimension -1 must have length 3. Got 2 and 2",
    ),
    "tril": (
        lambda T: T.tril(T.zeros(2)),
        RuntimeError,
        "tril: input tensor must have at least 2 dimensions, got shape [2]",
    ),
    "searchsorted": (
        lambda T: T.searchsorted(T.zeros(2, 3), T.zeros(3, 3)),
        RuntimeError,
        "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of "
        "boundaries tensor and input value tensor must match, but we got [2, 3] and [3, 3]",
    ),
    "bincount": (
        lambda T: T.bincount(T.tensor([-1])),
        RuntimeError,
        "bincount only supports 1-d non-negative integral inputs, got torch.int64 of shape [1]",
    ),
    "complex": (
        lambda T: T.complex(T.zeros(2), T.zeros(2, dtype=T.float64)),
        RuntimeError,
        "complex: expected both inputs to be Float or Double tensors of one dtype, got torch.float32 and torch.float64",
    ),
    "view_as_complex": (
        lambda T: T.view_as_complex(T.zeros(2, 3)),
        RuntimeError,
        "Tensor must have a last dimension of size 2, got shape [2, 3]",
    ),
}
