# GENIE_ENV_CUDA: AUTO takes the toolkit when there is one and this torch has CUDA; ON insists.
set(GENIE_ENV_HAS_CUDA FALSE)
