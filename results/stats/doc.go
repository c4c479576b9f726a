// Package stats decides which differences between variants are more than noise: a pooled two-way
// model of figures by variant and seed, tests against a baseline and between all pairs, Holm's
// correction, the smallest difference that a table could have shown, and bootstrap intervals over
// items. It knows neither records nor tables, and it draws no conclusion from one seed. Start with
// Fit.
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
// one seed on one item, which counts once. Degrees of freedom are then Satterthwaite's.
//
// Sources: Scheffé, The Analysis of Variance (1959), chapter 4, for the two-way layout; Holm, A
// Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statist. 6 (1979); Satterthwaite,
// An Approximate Distribution of Estimates of Variance Components, Biometrics Bull. 2 (1946);
// Cochran, The Distribution of the Largest of a Set of Estimated Variances, Ann. Eugenics 11 (1941);
// Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
package stats
