"""Six training programs, each one text that runs with PyTorch and with torchlite.

``make(torch)`` gives the model, ``batches(rng)`` the data as NumPy arrays, ``train(torch, model, batches)`` trains
on them and yields the loss of every step. ``benchmarks/train_step.py`` measures them, and
``tests/parity/test_programs.py`` compares their losses.

    python benchmarks/programs gpt                      # with torchlite
    python benchmarks/programs gpt --library torch      # with PyTorch
"""
