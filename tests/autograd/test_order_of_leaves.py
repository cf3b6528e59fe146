"""Gradients reach leaves in an order that does not depend on where objects lie in memory."""

import torchlite as torch


def test_leaves_come_in_the_order_in_which_gradients_were_sent_to_them():
    leaves = [torch.ones(2, requires_grad=True) for _ in range(30)]
    seen = []
    for i, leaf in enumerate(leaves):
        leaf.register_post_accumulate_grad_hook(lambda _, i=i: seen.append(i))
    total = leaves[0]
    for leaf in leaves[1:]:
        total = total + leaf
    total.sum().backward()
    assert seen == [*range(29, 1, -1), 0, 1]
