"""Tables of run folders to answers: metrics, comparisons, figures, reports."""
