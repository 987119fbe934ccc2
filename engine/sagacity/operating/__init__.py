"""The office of operators: plan, then apply, for every face alike (`docs/adr/0007-plan-then-apply.md`).

It protects one idea: what was shown is what is done. Tiers, reasons, roles and the second person are
asked for here, below all faces, so none of them can forget one.
"""
