"""Image batches: the variants of many images, one image a job."""
