/// A trained network, in whatever runs it.
public protocol Defender: Sendable {
    /// Height and width of the tiles it takes, in pixels.
    var side: Int { get }
    /// The bound that it was trained for, in 8-bit levels.
    var levels: Int { get }
    /// What runs it where, for people: "Core ML, CPU and Neural Engine".
    var engine: String { get async }

    /// The unit perturbation of a tile.
    ///
    /// - Parameter tile: RGB in 0...1, `side` x `side`.
    /// - Returns: values in -1...1, of the same size.
    func perturb(_ tile: FloatImage) async throws -> FloatImage
}
