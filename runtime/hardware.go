package runtime

import "march/runtime/internal/hostcpu"

// Hardware names what models run on, as the machine names it.
func (r *Runtime) Hardware() string {
	if r.gpu != nil {
		return r.gpu.Name
	}
	return hostcpu.Read().Model
}
