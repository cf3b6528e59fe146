// Convolution of bfloat16 arrays and its two gradients. All return whether there was memory enough.

static void *scratch_of(long bytes) { return aligned_alloc(64, (size_t)parts(bytes, 64) * 64); }

KERNEL int convolution(const void *x, const void *weight, const void *bias, void *y, const Bf16Geometry *g) {
    void *scratch = scratch_of(bf16_convolution_scratch(g));
    if (scratch) bf16_convolution(g, x, weight, bias, y, scratch, (Bf16OnRows){0}, (Bf16OnRows){0});
    free(scratch);
    return scratch != NULL;
}

KERNEL int input_grad(const void *y, const void *weight, void *x, const Bf16Geometry *g) {
    void *scratch = scratch_of(bf16_input_grad_scratch(g));
    if (scratch) bf16_input_grad(g, y, weight, x, scratch, (Bf16OnRows){0}, (Bf16OnRows){0});
    free(scratch);
    return scratch != NULL;
}

KERNEL int weight_grad(const void *x, const void *y, void *weight, const Bf16Geometry *g) {
    void *scratch = scratch_of(bf16_of_weight_scratch(g));
    if (scratch) bf16_gradient_of_weight(g, x, y, weight, scratch, (Bf16OnRows){0});
    free(scratch);
    return scratch != NULL;
}

// How much scratch memory they take, in bytes: of a convolution, of the gradients of its input and of its weight.
KERNEL long scratch(const Bf16Geometry *g, long which) {
    return which == 0 ? bf16_convolution_scratch(g) : which == 1 ? bf16_input_grad_scratch(g) : bf16_of_weight_scratch(g);
}

// Whether they can be given what makes the rows of their sources.
KERNEL long fills(void) {
#ifdef __AMX_BF16__
    return 0;
#else
    return 1;
#endif
}
