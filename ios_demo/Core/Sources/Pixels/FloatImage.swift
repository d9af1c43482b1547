/// Three colour values per pixel as floats, `[row][column][channel]`, red, green, blue.
///
/// The unit is said where one is passed: levels 0 to 255, an image in 0...1, or a unit
/// perturbation in -1...1.
public struct FloatImage: Sendable, Equatable {
    public let height: Int
    public let width: Int
    /// `3 * height * width` values.
    public var values: [Float]

    public init(height: Int, width: Int) {
        self.init(
            height: height, width: width, values: [Float](repeating: 0, count: 3 * height * width))
    }

    public init(height: Int, width: Int, values: [Float]) {
        precondition(height > 0 && width > 0 && values.count == 3 * height * width, "not its size")
        self.height = height
        self.width = width
        self.values = values
    }

    /// The part of `side` x `side` pixels whose top left corner is at (`top`, `left`).
    public func crop(top: Int, left: Int, side: Int) -> FloatImage {
        var part = [Float]()
        part.reserveCapacity(3 * side * side)
        for row in top..<top + side {
            let start = 3 * (row * width + left)
            part.append(contentsOf: values[start..<start + 3 * side])
        }
        return FloatImage(height: side, width: side, values: part)
    }
}

extension FloatImage: RowSource {
    public func load(row: Int, into target: UnsafeMutablePointer<Float>) {
        values.withUnsafeBufferPointer { source in
            target.update(from: source.baseAddress! + 3 * row * width, count: 3 * width)
        }
    }
}
