import { numberAttribute, roundEven, textAttribute } from './fold-tensor.ts'
import type { GraphNode } from './onnx.ts'

/** Functions of one number, as ONNX defines them. */

/** erf to float64's last digits: its series near 0, a continued fraction beyond. */
function erf(x: number): number {
  const z = Math.abs(x)
  if (z > 6) return Math.sign(x)
  if (z < 2.5) {
    let term = z
    let sum = z
    for (let n = 1; n < 200 && Math.abs(term) > 1e-18; n++) {
      term *= (-z * z) / n
      sum += term / (2 * n + 1)
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI)
  }
  let fraction = 0
  for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction)
  return Math.sign(x) * (1 - Math.exp(-z * z) / ((z + fraction) * Math.sqrt(Math.PI)))
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

const SQRT_HALF = Math.SQRT1_2

const geluTanh = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))

const hardSigmoid = (alpha: number, beta: number) => (x: number) => Math.max(0, Math.min(1, alpha * x + beta))

const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))

export const FUNCTIONS: Record<string, (node: GraphNode) => (x: number) => number> = {
  Abs: () => Math.abs,
  Ceil: () => Math.ceil,
  Celu: (node) => {
    const alpha = numberAttribute(node, 'alpha', 1)
    return (x) => Math.max(0, x) + Math.min(0, alpha * Math.expm1(x / alpha))
  },
  Cos: () => Math.cos,
  Elu: (node) => {
    const alpha = numberAttribute(node, 'alpha', 1)
    return (x) => (x < 0 ? alpha * Math.expm1(x) : x)
  },
  Erf: () => erf,
  Exp: () => Math.exp,
  Floor: () => Math.floor,
  Gelu: (node) =>
    textAttribute(node, 'approximate', 'none') === 'tanh' ? geluTanh : (x) => 0.5 * x * (1 + erf(x * SQRT_HALF)),
  HardSigmoid: (node) => hardSigmoid(numberAttribute(node, 'alpha', 0.2), numberAttribute(node, 'beta', 0.5)),
  HardSwish: () => (x) => x * hardSigmoid(1 / 6, 0.5)(x),
  LeakyRelu: (node) => {
    const slope = numberAttribute(node, 'alpha', 0.01)
    return (x) => (x < 0 ? slope * x : x)
  },
  Log: () => Math.log,
  Mish: () => (x) => x * Math.tanh(softplus(x)),
  Relu: () => (x) => Math.max(0, x),
  Round: () => roundEven,
  Selu: (node) => {
    const alpha = numberAttribute(node, 'alpha', 1.6732631921768188)
    const gamma = numberAttribute(node, 'gamma', 1.0507010221481323)
    return (x) => gamma * (x < 0 ? alpha * Math.expm1(x) : x)
  },
  Sigmoid: () => sigmoid,
  Sign: () => Math.sign,
  Sin: () => Math.sin,
  Softplus: () => softplus,
  Softsign: () => (x) => x / (1 + Math.abs(x)),
  Swish: (node) => {
    const alpha = numberAttribute(node, 'alpha', 1)
    return (x) => x * sigmoid(alpha * x)
  },
  Tanh: () => Math.tanh,
  ThresholdedRelu: (node) => {
    const alpha = numberAttribute(node, 'alpha', 1)
    return (x) => (x > alpha ? x : 0)
  },
}
