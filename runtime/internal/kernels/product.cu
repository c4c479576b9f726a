// Products of several factors with one matrix x [M,K] at once, on Hopper's tensor cores: projections y_i = x·w_i + b_i, and their
// gradients dx = Σ dy_i·w_iᵀ, dw_i = xᵀ·dy_i, db_i = the sums of dy_i's columns. Matrices in bfloat16 come to shared memory in boxes
// of 64 × 64 by the GPU's copying engine, which puts zeros where a box leaves the matrix.
//
// Clusters of two blocks make tiles of 256 × 256, each block 128 rows: half of the right operand's boxes each, copied to both. In a
// block one warp copies, ahead by STAGES steps of 64 terms of the sum, and two warpgroups multiply 64 rows each.
//
// OUT: type of y_i or dx.

#include "boxes.cuh"
#include "tensorcore.cuh"

#define STAGES 4
#define STEP 64               // terms of the sum in a stage, and rows and columns of a box
#define ROWS 128              // of a block's tile
#define COLUMNS 256           // of a tile
#define BOX (STEP * STEP * 2) // bytes
#define LEFT_BYTES (ROWS / STEP * BOX)
#define STAGE_BYTES (LEFT_BYTES + COLUMNS / STEP * BOX)
#define OUT_BYTES (2 * BOX) // of boxes on their way out, for each warpgroup

#define OWN 0x3ffff // of an address in shared memory: what is not the block of the cluster

__device__ __forceinline__ u32 cluster_rank() {
  u32 r;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
  return r;
}
__device__ __forceinline__ void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// Arrives at the barrier that lies there in a block of the cluster.
__device__ __forceinline__ void barrier_arrive(u32 at, u32 block) {
  asm volatile(
      "{ .reg .u32 there;\n"
      "mapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [there]; }" ::"r"(at), "r"(block) : "memory");
}
// Copies a box as copy_box does, to both blocks of the cluster, each of whose barriers hears of its own bytes.
__device__ __forceinline__ void copy_box_to_both(u32 to, const Map* from, int row, int column, u32 barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
               "l"(from), "r"(column), "r"(row), "r"(barrier), "h"((u16)3) : "memory");
}
// d [64,256] = a·b where !add, else += a·b, of 16 terms; SIDEWAYS: the operand's boxes have its terms as rows.
#define D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define D16(i) D4(i), D4(i + 4), D4(i + 8), D4(i + 12)
#define D64(i) D16(i), D16(i + 16), D16(i + 32), D16(i + 48)
template <bool SIDEWAYS_A, bool SIDEWAYS_B> __device__ __forceinline__ void multiply(float (&d)[128], u64 a, u64 b, int add) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,"
      "%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,"
      "%59,%60,%61,%62,%63,%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,"
      "%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,"
      "%123,%124,%125,%126,%127}, %128, %129, p, 1, 1, %131, %132; }"
      : D64(0), D64(64)
      : "l"(a), "l"(b), "r"(add), "n"((int)SIDEWAYS_A), "n"((int)SIDEWAYS_B));
}

// Where a block is in the ring of stages.
struct Ring {
  u32 memory, full, empty; // addresses: of the stages, and of a barrier for each
  int stage;
  u32 parity;
  __device__ __forceinline__ void next() {
    if (++stage == STAGES) stage = 0, parity ^= 1;
  }
  __device__ __forceinline__ u32 left() const { return memory + stage * STAGE_BYTES; }
  __device__ __forceinline__ u32 right() const { return left() + LEFT_BYTES; }
  __device__ __forceinline__ u32 behind() const { return memory + STAGES * STAGE_BYTES; }
  __device__ __forceinline__ u32 is_full() const { return full + 8 * stage; }
  __device__ __forceinline__ u32 is_empty() const { return empty + 8 * stage; }
};

// Copies a step's boxes once its stage is empty: of the left operand from row, of the right one from column on.
template <bool SIDEWAYS_A, bool SIDEWAYS_B>
__device__ __forceinline__ void fetch(Ring& ring, const Map* a, const Map* b, int row, int column, int term, u32 rank) {
  barrier_wait(ring.is_empty(), ring.parity ^ 1);
  barrier_expect(ring.is_full(), STAGE_BYTES);
#pragma unroll
  for (int i = 0; i < ROWS / STEP; i++)
    copy_box(ring.left() + i * BOX, a, SIDEWAYS_A ? term : row + i * STEP, SIDEWAYS_A ? row + i * STEP : term, ring.is_full());
#pragma unroll
  for (int j = 0; j < COLUMNS / STEP / 2; j++) {
    const int i = rank * (COLUMNS / STEP / 2) + j;
    copy_box_to_both(ring.right() + i * BOX, b, SIDEWAYS_B ? term : column + i * STEP, SIDEWAYS_B ? column + i * STEP : term, ring.is_full());
  }
  ring.next();
}

// The stage before this one may be written again, in both blocks.
__device__ __forceinline__ void release(const Ring& ring, int stage) {
  if (threadIdx.x % 128 < 2) barrier_arrive(ring.empty + 8 * stage, threadIdx.x % 128);
}

// Adds up the columns of the right operand's rows [from, from + count) of a step: eight columns in each thread, sum.
__device__ __forceinline__ void add_columns(u32 right, int from, int count, float (&sum)[8]) {
  const int c = threadIdx.x % 32, box = c / 8;
  for (int r = from + threadIdx.x / 32; r < from + count; r += 8) {
    u32 v[4];
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                 : "r"(right + box * BOX + r * STEP * 2 + (c % 8 ^ r % 8) * 16));
#pragma unroll
    for (int j = 0; j < 4; j++) sum[2 * j] += low_bf16(v[j]), sum[2 * j + 1] += high_bf16(v[j]);
  }
}

// A warpgroup's 64 rows of a tile: so many steps. Adds up the columns of count rows of each step, too.
template <bool SIDEWAYS_A, bool SIDEWAYS_B>
__device__ __forceinline__ void consume(Ring& ring, float (&d)[128], int steps, int from, int count, float (&sum)[8]) {
  // Boxes have rows of 128 bytes with their 16-byte parts swizzled, eight rows in 1,024 bytes; sideways operands have the next 64
  // columns in the next box.
  const u64 layout = (u64)(1u << 30 | 1024 >> 4) << 32;
  const u32 part_a = (SIDEWAYS_A ? 16 * STEP * 2 : 32) >> 4, part_b = (SIDEWAYS_B ? 16 * STEP * 2 : 32) >> 4;
  const int group = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0); // the compiler sees that it is one for all of a warp
  int before = 0;
  for (int s = 0; s < steps; s++) {
    barrier_wait(ring.is_full(), ring.parity);
    u64 a = layout | 1u << 16 | ((ring.left() + group * BOX) & OWN) >> 4;
    u64 b = layout | (SIDEWAYS_B ? (u32)BOX >> 4 : 1u) << 16 | (ring.right() & OWN) >> 4;
    begin_products();
#pragma unroll
    for (int k = 0; k < STEP / 16; k++) multiply<SIDEWAYS_A, SIDEWAYS_B>(d, a + k * part_a, b + k * part_b, s > 0 || k > 0);
    end_products();
    if (SIDEWAYS_B && count > 0) {
      add_columns(ring.right(), from, count, sum);
      warpgroup_barrier(group); // all have read before one releases the stage
    }
    wait_products<1>();
    if (s > 0) release(ring, before);
    before = ring.stage;
    ring.next();
  }
  wait_products<0>();
  release(ring, before);
#pragma unroll
  for (int i = 0; i < 128; i++) asm volatile("" : "+f"(d[i])::"memory"); // results are read behind this point, not before
}

// Eight elements, unconverted.
template <class Elem> struct alignas(16) Row { u32 words[2 * sizeof(Elem)]; };

// Writes a warpgroup's rows of a tile at (row, column) of out [rows, columns], with bias [columns] and addend [rows, columns]
// where they are not null. columns is a multiple of 8. An addend may be the output: it is read before that is written, but
// many reads are on their way at a time.
template <class Out>
__device__ __forceinline__ void write_tile(float (&d)[128], Out* out, const Out* bias, const Out* addend, int row, int column, int rows, int columns) {
  row += threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
  column += threadIdx.x % 4 * 8;
  constexpr int ahead = 8 / sizeof(Out); // reads of 32 columns
#pragma unroll
  for (int part = 0; part < 8 / ahead; part++) {
    Row<Out> biases[ahead], addends[ahead][2];
#pragma unroll
    for (int j = 0; j < ahead; j++) {
      const int c = column + 32 * (ahead * part + j);
      if (bias && c < columns) biases[j] = *reinterpret_cast<const Row<Out>*>(bias + c);
      for (int h = 0; h < 2; h++)
        if (addend && c < columns && row + 8 * h < rows) addends[j][h] = *reinterpret_cast<const Row<Out>*>(addend + (long long)(row + 8 * h) * columns + c);
    }
#pragma unroll
    for (int j = 0; j < ahead; j++) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float v[4][2], more[8];
#pragma unroll
        for (int b = 0; b < 4; b++) {
          const int at = (4 * (ahead * part + j) + b) * 4 + 2 * h;
          v[b][0] = d[at], v[b][1] = d[at + 1];
        }
        gather(v);
        float* x = &v[0][0];
        if (bias) {
          load<8>(reinterpret_cast<const Out*>(&biases[j]), more);
#pragma unroll
          for (int i = 0; i < 8; i++) x[i] += more[i];
        }
        if (addend) {
          load<8>(reinterpret_cast<const Out*>(&addends[j][h]), more);
#pragma unroll
          for (int i = 0; i < 8; i++) x[i] += more[i];
        }
        const int r = row + 8 * h, c = column + 32 * (ahead * part + j);
        if (r < rows && c < columns) store<8>(out + (long long)r * columns + c, x);
      }
    }
  }
}

// The bias of a thread's columns, two of each eight.
struct Bias { u32 pairs[COLUMNS / 8]; };
__device__ __forceinline__ Bias read_bias(const bf16* bias, int column, int columns) {
  Bias b = {};
#pragma unroll
  for (int j = 0; j < COLUMNS / 8; j++)
    if (bias && column + 8 * j < columns) b.pairs[j] = *reinterpret_cast<const u32*>(bias + column + 8 * j + threadIdx.x % 4 * 2);
  return b;
}

// Writes a warpgroup's rows of a tile in bfloat16, box by box by way of shared memory, from where the copying engine takes them while
// the next tile is multiplied.
__device__ __forceinline__ void store_tile(const float (&d)[128], const Bias& bias, const Map* out, u32 memory, int row, int column) {
  const int group = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0), lane = threadIdx.x % 32;
  memory += group * OUT_BYTES;
  // Lane l's row of the matrices [8,8] that it gives an address for, two of rows beside two of columns.
  const u32 mine = (threadIdx.x / 32 % 4 * 16 + lane / 8 % 2 * 8 + lane % 8) * STEP * 2;
#pragma unroll
  for (int i = 0; i < COLUMNS / STEP; i++) {
    const u32 box = memory + i % 2 * BOX;
    if (threadIdx.x % 128 == 0) wait_stores<1>();
    warpgroup_barrier(group);
#pragma unroll
    for (int j = 0; j < STEP / 8; j += 2) {
      u32 v[4];
#pragma unroll
      for (int k = 0; k < 4; k++) {
        const int block = i * (STEP / 8) + j + k / 2, at = 4 * block + k % 2 * 2;
        v[k] = pack_bf16(d[at] + low_bf16(bias.pairs[block]), d[at + 1] + high_bf16(bias.pairs[block]));
      }
      asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(box + mine + ((j + lane / 16) ^ lane % 8) * 16), "r"(v[0]), "r"(v[1]),
                   "r"(v[2]), "r"(v[3]) : "memory");
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    warpgroup_barrier(group);
    if (threadIdx.x % 128 == 0) store_box(out, box, row + group * STEP, column + i * STEP);
  }
}

// Writes a tile as boxes or, with an addend or in float32, thread by thread.
template <class Out>
__device__ __forceinline__ void put_tile(float (&d)[128], const Bias& bias, const Map* boxes, Out* out, const Out* biases, const Out* addend, u32 memory, int row,
                                         int column, int rows, int columns) {
  if constexpr (sizeof(Out) == 2) {
    if (!addend) return store_tile(d, bias, boxes, memory, row, column);
  }
  write_tile(d, out, biases, addend, row, column, rows, columns);
}

// Barriers for the ring, ready in both blocks.
__device__ __forceinline__ Ring make_ring(u64* barriers) {
  extern __shared__ unsigned char memory[];
  Ring ring = {(shared_address(memory) + 1023) / 1024 * 1024, shared_address(barriers), shared_address(barriers + STAGES), 0, 0};
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      barrier_init(ring.full + 8 * i, 1);
      barrier_init(ring.empty + 8 * i, 4); // two warpgroups of each block
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  cluster_barrier();
  return ring;
}

#define CLUSTER __cluster_dims__(2, 1, 1) __launch_bounds__(384, 1)
#define WIDTH(i) (i == 0 ? n0 : i == 1 ? n1 : n2)
#define PICK(name, i) (i == 0 ? &name##0 : i == 1 ? &name##1 : &name##2)
#define CHOOSE(name, i) (i == 0 ? name##0 : i == 1 ? name##1 : name##2)

// y_i [M,N_i] = x·w_i + bias_i, which may be null. out_i is y_i in boxes, where that is in bfloat16. N_i is 0 of products that are not there. Blocks: any even number.
extern "C" __global__ void CLUSTER project(
    const __grid_constant__ Map x, const __grid_constant__ Map w0, const __grid_constant__ Map w1, const __grid_constant__ Map w2,
    const __grid_constant__ Map out0, const __grid_constant__ Map out1, const __grid_constant__ Map out2, int M, int K, int n0, int n1, int n2,
    const OUT* bias0, const OUT* bias1, const OUT* bias2, OUT* y0, OUT* y1, OUT* y2) {
  __shared__ u64 barriers[2 * STAGES];
  Ring ring = make_ring(barriers);
  const u32 rank = cluster_rank();
  const int c0 = (n0 + COLUMNS - 1) / COLUMNS, c1 = (n1 + COLUMNS - 1) / COLUMNS, c2 = (n2 + COLUMNS - 1) / COLUMNS;
  const int across = c0 + c1 + c2, units = (M + 2 * ROWS - 1) / (2 * ROWS) * across, steps = (K + STEP - 1) / STEP;
  if (threadIdx.x >= 256) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == 256) {
      for (int u = blockIdx.x / 2; u < units; u += gridDim.x / 2) {
        int c = u % across, i = c < c0 ? 0 : c < c0 + c1 ? 1 : 2;
        if (i > 0) c -= i == 1 ? c0 : c0 + c1;
        for (int s = 0; s < steps; s++)
          fetch<false, true>(ring, &x, PICK(w, i), u / across * 2 * ROWS + rank * ROWS, c * COLUMNS, s * STEP, rank);
      }
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    float d[128], sum[8];
    for (int u = blockIdx.x / 2; u < units; u += gridDim.x / 2) {
      int c = u % across, i = c < c0 ? 0 : c < c0 + c1 ? 1 : 2;
      if (i > 0) c -= i == 1 ? c0 : c0 + c1;
      const OUT* biases = CHOOSE(bias, i);
      Bias bias = {};
      if constexpr (sizeof(OUT) == 2) bias = read_bias(reinterpret_cast<const bf16*>(biases), c * COLUMNS, WIDTH(i));
      consume<false, true>(ring, d, steps, 0, 0, sum);
      put_tile<OUT>(d, bias, PICK(out, i), CHOOSE(y, i), biases, nullptr, ring.behind(), u / across * 2 * ROWS + rank * ROWS, c * COLUMNS, M, WIDTH(i));
    }
    if (threadIdx.x % 128 == 0) wait_stores<0>();
  }
  __syncwarp();
  cluster_barrier(); // a block that is through may still be written to
}

// The gradients of products; N_i is 0 of those that are not there. dw_i comes as splits partial sums over rows of x, dw_i [splits, K, N_i] in float32, with an addend
// only where splits is 1; db_i as partial sums [splits·sharers, N_i], sharers being the blocks, of those with the same columns of dw_i,
// that add up a part of each step's rows. A cluster makes at most one tile of dw; those without one make alone tiles of dx each, and
// those with one what is left, before it: the parts of dw are then still in the cache when they are added up.
extern "C" __global__ void CLUSTER project_grad(
    const __grid_constant__ Map x, const __grid_constant__ Map dy0, const __grid_constant__ Map dy1, const __grid_constant__ Map dy2,
    const __grid_constant__ Map w0, const __grid_constant__ Map w1, const __grid_constant__ Map w2, const __grid_constant__ Map out, int M, int K,
    int n0, int n1, int n2, const OUT* addend, OUT* dx, const float* more0, const float* more1, const float* more2, float* dw0, float* dw1, float* dw2,
    float* db0, float* db1, float* db2, int splits, int sharers, int alone) {
  __shared__ u64 barriers[2 * STAGES];
  extern __shared__ unsigned char memory[];
  Ring ring = make_ring(barriers);
  const u32 rank = cluster_rank();
  const int cluster = blockIdx.x / 2, clusters = gridDim.x / 2;
  const int c0 = (n0 + COLUMNS - 1) / COLUMNS, c1 = (n1 + COLUMNS - 1) / COLUMNS, c2 = (n2 + COLUMNS - 1) / COLUMNS;
  const int down = (K + 2 * ROWS - 1) / (2 * ROWS), across = c0 + c1 + c2, tiles = down * across, parts = tiles * splits;
  const int wide = (K + COLUMNS - 1) / COLUMNS, units = (M + 2 * ROWS - 1) / (2 * ROWS) * wide;
  // This cluster's tile of dw: split, product, rows and columns.
  const bool has = cluster < parts;
  const int split = cluster / tiles, t = cluster % tiles, row = t % down * 2 * ROWS + rank * ROWS;
  int c = t / down;
  const int i = c < c0 ? 0 : c < c0 + c1 ? 1 : 2;
  if (i > 0) c -= i == 1 ? c0 : c0 + c1;
  const long long all = (M + STEP - 1) / STEP;
  const int begin = (int)(all * split / splits), end = (int)(all * (split + 1) / splits);
  // And its tiles of dx.
  const int others = clusters - parts, first = has ? others * alone + cluster : cluster - parts, stride = has ? parts : others;
  const int last = has ? units : min(units, others * alone);
  if (threadIdx.x >= 256) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == 256) {
      for (int u = first; u < last; u += stride)
        for (int f = 0; f < 3; f++)
          for (int s = 0; s < WIDTH(f); s += STEP)
            fetch<false, false>(ring, PICK(dy, f), PICK(w, f), u / wide * 2 * ROWS + rank * ROWS, u % wide * COLUMNS, s, rank);
      if (has)
        for (int s = begin; s < end; s++) fetch<true, true>(ring, &x, PICK(dy, i), row, c * COLUMNS, s * STEP, rank);
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    float d[128], sum[8] = {};
    int steps = 0;
    for (int f = 0; f < 3; f++) steps += (WIDTH(f) + STEP - 1) / STEP;
    for (int u = first; u < last; u += stride) {
      consume<false, false>(ring, d, steps, 0, 0, sum);
      put_tile<OUT>(d, Bias{}, &out, dx, nullptr, addend, ring.behind(), u / wide * 2 * ROWS + rank * ROWS, u % wide * COLUMNS, M, K);
    }
    if (has) {
      float* db = CHOOSE(db, i);
      const int part = row / ROWS, count = db && part < sharers ? STEP / sharers : 0;
      consume<true, true>(ring, d, end - begin, part * count, count, sum);
      write_tile<float>(d, CHOOSE(dw, i) + (long long)split * K * WIDTH(i), nullptr, CHOOSE(more, i), row, c * COLUMNS, K, WIDTH(i));
      if (count > 0) {
        auto fold = reinterpret_cast<float(*)[COLUMNS]>(memory + (ring.behind() - shared_address(memory))); // [8][COLUMNS]
        if (threadIdx.x % 128 == 0) wait_stores<0>();
        asm volatile("bar.sync 1, 256;" ::: "memory");
        for (int j = 0; j < 8; j++) fold[threadIdx.x / 32][threadIdx.x % 32 * 8 + j] = sum[j];
        asm volatile("bar.sync 1, 256;" ::: "memory");
        float s = 0;
        for (int g = 0; g < 8; g++) s += fold[g][threadIdx.x];
        if (c * COLUMNS + threadIdx.x < WIDTH(i)) db[(long long)(split * sharers + part) * WIDTH(i) + c * COLUMNS + threadIdx.x] = s;
      }
    }
    if (threadIdx.x % 128 == 0) wait_stores<0>();
  }
  __syncwarp();
  cluster_barrier();
}

// dw_i [size_i] = more_i + the sum of dw_i's splits parts, by the first blocks of 1,024 elements each; db_i [n_i] likewise of rows parts,
// by the others, of 32 columns each. Y is i. Addends may be null, or the result.
extern "C" __global__ void __launch_bounds__(256) fold_parts(
    const float* __restrict__ part0, const float* __restrict__ part1, const float* __restrict__ part2, const float* more0, const float* more1,
    const float* more2, float* dw0, float* dw1, float* dw2, long long size0, long long size1, long long size2, int splits, int blocks,
    const float* __restrict__ sums0, const float* __restrict__ sums1, const float* __restrict__ sums2, const float* old0, const float* old1,
    const float* old2, float* db0, float* db1, float* db2, int n0, int n1, int n2, int rows) {
  __shared__ float fold[8][32];
  const int i = blockIdx.y;
  if (blockIdx.x < blocks) {
    const long long size = CHOOSE(size, i), at = (long long)blockIdx.x * 1024 + threadIdx.x * 4;
    const float *part = CHOOSE(part, i) + at, *more = CHOOSE(more, i);
    if (at >= size) return;
    float sum[4] = {}, v[4];
    if (more) load<4>(more + at, sum);
#pragma unroll 4
    for (int s = 0; s < splits; s++) {
      load<4>(part + s * size, v);
#pragma unroll
      for (int j = 0; j < 4; j++) sum[j] += v[j];
    }
    store<4>(CHOOSE(dw, i) + at, sum);
    return;
  }
  float* db = CHOOSE(db, i);
  const int n = WIDTH(i), c = (blockIdx.x - blocks) * 32 + threadIdx.x % 32;
  if (!db) return;
  float sum = 0;
#pragma unroll 4
  for (int r = threadIdx.x / 32; c < n && r < rows; r += 8) sum += CHOOSE(sums, i)[(long long)r * n + c];
  fold[threadIdx.x / 32][threadIdx.x % 32] = sum;
  __syncthreads();
  if (threadIdx.x >= 32 || c >= n) return;
  const float* old = CHOOSE(old, i);
  sum = old ? old[c] : 0;
  for (int g = 0; g < 8; g++) sum += fold[g][threadIdx.x];
  db[c] = sum;
}
