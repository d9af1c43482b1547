/// Where red, green and blue lie in a pixel of four bytes. The fourth byte is alpha, or nothing.
///
/// A `CVPixelBuffer` of kind `32BGRA` is `bgra`; a `CGContext` with `noneSkipLast` is `rgba`.
public enum PixelOrder: Sendable, Equatable {
    case rgba
    case bgra

    /// Byte offsets of red, green and blue within a pixel.
    public var offsets: (red: Int, green: Int, blue: Int) {
        switch self {
        case .rgba: return (0, 1, 2)
        case .bgra: return (2, 1, 0)
        }
    }
}

/// 8-bit pixels of four bytes in memory that somebody else owns: a `Bitmap`, or a pixel buffer
/// that is locked.
///
/// Valid as long as that memory is; never kept, and never passed across an `await`.
public struct PixelView {
    /// First byte of the top left pixel.
    public let base: UnsafeMutableRawPointer
    public let width: Int
    public let height: Int
    /// At least `4 * width`; pixel buffers pad their rows.
    public let bytesPerRow: Int
    public let order: PixelOrder

    public init(
        base: UnsafeMutableRawPointer, width: Int, height: Int, bytesPerRow: Int, order: PixelOrder
    ) {
        precondition(width > 0 && height > 0 && bytesPerRow >= 4 * width, "no room for its rows")
        self.base = base
        self.width = width
        self.height = height
        self.bytesPerRow = bytesPerRow
        self.order = order
    }

    /// The bytes of a row, four per pixel.
    public func bytes(row: Int) -> UnsafeMutablePointer<UInt8> {
        (base + row * bytesPerRow).assumingMemoryBound(to: UInt8.self)
    }
}

extension PixelView: RowSource {
    /// Levels 0 to 255, red, green, blue; alpha is left out.
    public func load(row: Int, into target: UnsafeMutablePointer<Float>) {
        let source = bytes(row: row)
        let (red, green, blue) = order.offsets
        for column in 0..<width {
            target[3 * column] = Float(source[4 * column + red])
            target[3 * column + 1] = Float(source[4 * column + green])
            target[3 * column + 2] = Float(source[4 * column + blue])
        }
    }
}
