/// How the stored pixels of a photo have to be turned to be upright: EXIF tag 0x0112.
///
/// A photo keeps its stored pixels and its tag. Only the small view that the network looks at is
/// turned upright, and its perturbation is turned back: no full-size copy, and nothing to fix in
/// the metadata.
public enum Orientation: Int, Sendable, CaseIterable {
    case up = 1
    case upMirrored
    case down
    case downMirrored
    case leftMirrored
    case right
    case rightMirrored
    case left

    /// Whether height and width change places.
    public var swapsAxes: Bool { rawValue >= 5 }

    /// The turn that takes an upright picture back to how it is stored.
    public var inverse: Orientation {
        switch self {
        case .right: return .left
        case .left: return .right
        default: return self
        }
    }
}

extension FloatImage {
    /// The picture upright.
    ///
    /// - Parameter orientation: of the stored picture, as EXIF counts.
    public func turned(_ orientation: Orientation) -> FloatImage {
        guard orientation != .up else { return self }
        let swaps = orientation.swapsAxes
        let mirrorsColumns = [.upMirrored, .down, .right, .rightMirrored].contains(orientation)
        let mirrorsRows = [.down, .downMirrored, .rightMirrored, .left].contains(orientation)
        var result = FloatImage(height: swaps ? width : height, width: swaps ? height : width)
        for row in 0..<result.height {
            let fromRow = mirrorsRows ? result.height - 1 - row : row
            for column in 0..<result.width {
                let fromColumn = mirrorsColumns ? result.width - 1 - column : column
                let source =
                    swaps ? 3 * (fromColumn * width + fromRow) : 3 * (fromRow * width + fromColumn)
                let target = 3 * (row * result.width + column)
                for channel in 0..<3 {
                    result.values[target + channel] = values[source + channel]
                }
            }
        }
        return result
    }
}
