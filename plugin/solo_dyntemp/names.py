"""Our temperatures by name, for listings and for `build_temperature` alike; imports nothing."""

DYSTRESS = "2308.01140"
TEMO = "OpenReview rIv5ftmR3v"
TEMPERATURE_ENTRIES = (
    ("cosine", "CosineTemperature", "pair: tau_min at s=0, tau_max at s=-1 and 1", DYSTRESS),
    ("shifted_cosine", "ShiftedCosineTemperature", "pair: minimum moved below 0", DYSTRESS),
    ("linear", "LinearTemperature", "pair: grows with |s| in a straight line", DYSTRESS),
    ("exponential", "ExponentialTemperature", "pair: grows with |s| and levels off", DYSTRESS),
    ("monotone_cosine", "MonotoneCosineTemperature", "pair: grows with s", DYSTRESS),
    ("inverted_cosine", "InvertedCosineTemperature", "control: tau_max at s=0", DYSTRESS),
    ("arctanh", "ArctanhTemperature", "pair: no tau, the logit is 2 artanh s", "2501.17683"),
    ("spline", "SplineTemperature", "trained: a free curve tau(s) with 8 knots", ""),
    ("constant", "ConstantTemperature", "control: one tau for every pair", "2002.05709"),
    ("dual_constant", "DualConstantTemperature", "control: positives and negatives apart", ""),
    ("shuffled", "ShuffledTemperature", "control: the cosine's taus at other negatives", ""),
    ("cosine_schedule", "CosineScheduleTemperature", "time: rises and falls", "2303.13664"),
    ("stabilised", "StabilisedTemperature", "time: the cosine flattens to tau_max", DYSTRESS),
    ("temo", "TeMoTemperature", "time: from one tau to one that grows with s", TEMO),
    ("macl", "MACLTemperature", "batch: follows the positives' mean similarity", "2207.07874"),
    ("dual_temperature", "DualTemperature", "batch: two taus weigh each anchor", "2203.17248"),
    ("isogclr", "ISogCLRTemperature", "sample: each image learns its own", "2305.11965"),
    ("learnable", "LearnableTemperature", "trained: one tau as a parameter", "2103.00020"),
    ("rgcl_g", "RGCLTemperature", "trained: one tau and a penalty on it", "2407.01445"),
    ("tempnet", "TempNetTemperature", "trained: a network reads each anchor", "2404.04575"),
    ("uncertainty", "UncertaintyTemperature", "trained: an output of the head", "2110.04403"),
    ("adnce", "ADNCETemperature", "negatives: a Gaussian of s weighs them", "2310.11048"),
    ("glofnd", "GloFNDTemperature", "negatives: each image's threshold drops some", "2502.20612"),
    ("mm_ts", "MMTSTemperature", "oracle: a wave in time, shifted by class size", "2603.08202"),
    ("class_frequency", "ClassFrequencyTemperature", "oracle: grows with class size", ""),
    ("same_class", "SameClassTemperature", "oracle: tau_max for same-class negatives", ""),
)
