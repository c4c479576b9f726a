// Package trainloop trains a program (see variants/program) on token batches: it drives
// the two training graphs, follows the learning-rate schedule, logs every step, and
// saves checkpoints from which a run goes on exactly. It knows neither what a variant
// is made of nor how a trained model is scored. Start at [Train]; [Engine] is the device
// side alone.
package trainloop
