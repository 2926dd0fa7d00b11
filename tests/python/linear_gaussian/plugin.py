"""`genie-env --import linear_gaussian.plugin`: registers the family."""

import linear_gaussian

_extension = linear_gaussian.extension()
if _extension is None:
    raise ImportError("_linear_gaussian is not built: configure with GENIE_ENV_TESTS=ON")
linear_gaussian.register(_extension)
