/// The triangle filter from `source` to `target` samples, pixel centres at half-integers.
///
/// Going down it is the antialiased bilinear resize that training scripts apply; going up it is
/// plain bilinear interpolation that repeats the edge; from n to n it copies. Exact formulae:
/// docs/large-photos.md.
public struct Taps: Sendable {
    /// First source sample of each target sample.
    public let first: [Int]
    /// Weights of each target sample's run of source samples; they add up to 1.
    public let weights: [[Float]]

    public init(from source: Int, to target: Int) {
        precondition(source > 0 && target > 0, "nothing to scale")
        let scale = Double(source) / Double(target)
        let support = max(scale, 1)
        var first = [Int]()
        var weights = [[Float]]()
        first.reserveCapacity(target)
        weights.reserveCapacity(target)
        for sample in 0..<target {
            let centre = (Double(sample) + 0.5) * scale
            let low = Int(max((centre - support + 0.5).rounded(.down), 0))
            let high = Int(min((centre + support + 0.5).rounded(.down), Double(source)))
            // Computed in double and stored as float, as everywhere.
            let raw = (low..<high).map { max(1 - abs(Double($0) + 0.5 - centre) / support, 0) }
            let sum = raw.reduce(0, +)
            first.append(low)
            weights.append(raw.map { Float($0 / sum) })
        }
        self.first = first
        self.weights = weights
    }
}
