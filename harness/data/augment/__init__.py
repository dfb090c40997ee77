"""One definition of augmentation, three executions.

`draws` says what is random: a few numbers for each sample and epoch, drawn on the host. `batched` (torch, any device),
`fused` (Numba, CPU) and `graph` (DALI) do with a batch what its draws say.
"""
