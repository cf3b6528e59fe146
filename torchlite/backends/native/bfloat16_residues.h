// Where there are no tile registers: the gradient of the input of strided windows, row by row, so that whole rows are handed over.
//
// Each residue of a position by the stride is a sum of its own (`bf16_backward`), some without any term. Those of a row are put
// side by side again.

#ifndef __AMX_BF16__

enum { BF16_MOST_STRIDE = 4 };

typedef struct {
    Bf16Sum sums[BF16_MOST_STRIDE * BF16_MOST_STRIDE];  // [residue of a row][residue of a column]
    Bf16Sum whole;                                      // of which there are sizes, the result and what takes it
    long down, across;                                  // strides
} Bf16Residues;

static void bf16_pack_residue_task(void *argument, long index) {
    Bf16Residues *r = argument;
    long blocks = parts(r->whole.results, BF16_BLOCK);
    bf16_pack_weights_task(&r->sums[index / blocks], index % blocks);
}

// Sums of some columns of a row from `first` on, each residue's dealt out to every `across`-th.
static void bf16_sum_columns(const Bf16Residues *r, const Bf16Term *const *terms, long row, long first, long count, int beside,
                             Bf16Ahead *ahead, float *sums) {
    for (long across = 0; across < at_most(r->across, count); across++) {
        long residue = row % r->down * r->across + across, n = parts(count - across, r->across), at[BF16_BLOCK];
        const Bf16Sum *s = &r->sums[residue];
        float own[BF16_BLOCK * BF16_BLOCK] __attribute__((aligned(64)));
        for (long i = 0; i < BF16_BLOCK; i++) at[i] = (row / r->down * s->padded + first / r->across + at_most(i, n - 1)) * s->wide;
        if (s->terms) bf16_sum_positions(s, terms[residue], at, n, beside, ahead, own);
        for (long i = 0; i < n; i++) {
            float *to = sums + (across + i * r->across) * BF16_BLOCK;
            if (s->terms) memcpy(to, own + i * BF16_BLOCK, BF16_BLOCK * sizeof *to);
            else memset(to, 0, BF16_BLOCK * sizeof *to);
        }
    }
}

static void bf16_residues_task(void *argument, long share) {
    const Bf16Residues *r = argument;
    Bf16Sum whole = r->whole;
    long shares = bf16_shares(whole.samples), residues = r->down * r->across, blocks = parts(whole.results, BF16_BLOCK);
    long columns = whole.columns, wide = BF16_BLOCK * r->across, rows = whole.rows;
    long tiles = blocks * rows * parts(columns, r->across * bf16_beside(&whole, 0) * BF16_ROWS);
    Bf16Term terms[BF16_MOST_TAPS * BF16_MOST_TAPS];
    const Bf16Term *own[BF16_MOST_STRIDE * BF16_MOST_STRIDE];
    float sums[BF16_MOST_STRIDE * BF16_BLOCK * BF16_BLOCK] __attribute__((aligned(64)));
    for (long i = 0; i < residues; i++)
        memset(bf16_copy_of(&r->sums[i], share), 0, (size_t)r->sums[i].sample_size * sizeof(uint16_t));
    for (long sample = share * whole.samples / shares; sample < (share + 1) * whole.samples / shares; sample++) {
        Bf16Ahead ahead = bf16_next_sample(&whole, sample + 1, tiles);
        for (long i = 0; i < residues; i++)
            if (r->sums[i].terms) bf16_copy_sample(&r->sums[i], sample, bf16_copy_of(&r->sums[i], share));
        for (long b = 0; b < blocks; b++) {
            Bf16Term *next = terms;  // each tap belongs to one residue
            for (long i = 0; i < residues; next += r->sums[i++].terms) {
                own[i] = next;
                bf16_terms_of(&r->sums[i], bf16_copy_of(&r->sums[i], share), b, next);
            }
            for (long row = 0; row < rows; row++)
                for (long first = 0; first < columns; first += wide) {
                    long count = at_most(wide, columns - first);
                    bf16_sum_columns(r, own, row, first, count, bf16_beside(&whole, b), &ahead, sums);
                    whole.rows = row + 1;  // where positions end
                    for (long i = 0; i < count; i += BF16_BLOCK)
                        bf16_hand_over(&whole, sums + i * BF16_BLOCK, sample, row * columns + first + i, b * BF16_BLOCK);
                }
        }
    }
}

static void bf16_sum_residues(Bf16Residues *r) {
    parallel(bf16_pack_residue_task, r, r->down * r->across * parts(r->whole.results, BF16_BLOCK));
    parallel(bf16_residues_task, r, bf16_shares(r->whole.samples));
}

#endif
