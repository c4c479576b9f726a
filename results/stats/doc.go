// Package stats decides which differences between variants are more than noise: a pooled two-way
// model of figures by variant and seed, tests against a baseline and between all pairs, Holm's
// correction, the smallest difference that a table could have shown, and bootstrap intervals over
// items. It knows neither records nor tables, and it draws no conclusion from one seed. Start with
// NewPool.
//
// # The model
//
// A figure y of variant v and seed s is y = μ_v + β_s + e. Variants that have a seed in common saw
// the same text in the same order from start values of the same stream of random numbers, so β_s is
// estimated rather than counted as noise: the comparison is paired. The variance of e is pooled over
// all variants, since a few seeds of one variant say little of its own spread. With k variants of N
// seeds each it has (k−1)(N−1) degrees of freedom, and the difference of two variants a standard
// error of σ·√(2/N). Where figures are missing the same model is fitted by least squares to those
// that are there.
//
// Figures that are means over items (minimal pairs, passages) have a second source of noise, which
// items happen to be in the suite. [ItemNoise] gives its variance, and a test with it asks of other
// seeds and other items alike. Its variance and the seeds' have one part in common, the noise of
// one seed on one item, which counts once. A difference is then measured against the mean of both parts'
// critical values, each weighed with its variance, as Cochran and Cox do, which holds the level;
// Satterthwaite's degrees of freedom do not at the levels of Holm's correction, where one part has few
// (TestEqualVariantsInSmallTables). They serve for [Test.Shown].
//
// A variant whose seeds scatter far more than the others', by Cochran's test at the level of an outlier in
// ISO 5725-2, is no part of the pooled variance ([Pool]): one run that went astray would hide every
// difference of the table. It is compared by Student's paired test, and takes no part in [Best].
//
// Sources: Scheffé, The Analysis of Variance (1959), chapter 4, for the two-way layout; Holm, A
// Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statist. 6 (1979); Satterthwaite,
// An Approximate Distribution of Estimates of Variance Components, Biometrics Bull. 2 (1946);
// Cochran, The Distribution of the Largest of a Set of Estimated Variances, Ann. Eugenics 11 (1941);
// ISO 5725-2, Accuracy of Measurement Methods and Results, on outliers; Cochran and Cox, Experimental
// Designs (1957), section 4.14, and Cochran, Approximate Significance Levels of the Behrens-Fisher Test,
// Biometrics 20 (1964); Johnson and Welch, Applications of the Non-Central t-Distribution, Biometrika 31 (1940);
// Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
package stats
