"""``report.html``: what a run was and did, on one page without network or script."""

from torchlite.train.report.contents import write_report

__all__ = ["write_report"]
